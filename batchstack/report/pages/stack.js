// The page of a stack: two pictures compared, the depth over them, the depth as a surface.
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  // --- from stack to stack
  const order = window.batchstackOrder || [];
  const here = order.indexOf(location.pathname.split("/").at(-2));
  for (const [id, page] of [["previous", order[here - 1]], ["next", order[here + 1]]]) {
    if (here >= 0 && page) {
      find(id).href = `../${page}/index.html`;
      find(id).hidden = false;
    }
  }
  if (here >= 0) find("place").textContent = `${here + 1} of ${order.length}, worst first`;

  const keys = { n: () => find("next").click(), p: () => find("previous").click() };
  document.addEventListener("keydown", (event) => {
    const typing = /^(SELECT|TEXTAREA)$/.test(event.target.tagName) || event.target.type === "search";
    const act = keys[event.key];
    if (act && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) act();
  });

  // --- two pictures
  function compare() {
    const [under, over, slider, divider] = ["under", "over", "slider", "divider"].map(find);
    const [left, right] = [find("left"), find("right")];
    let timer = null;

    function show() {
      const flickers = timer !== null;
      over.style.clipPath = flickers ? "none" : `inset(0 0 0 ${slider.value}%)`;
      divider.style.left = `${slider.value}%`;
      divider.hidden = flickers;
      if (!flickers) over.style.visibility = "visible";
    }

    function choose() {
      for (const [image, choice] of [[under, left], [over, right]]) {
        image.src = choice.value;
        image.alt = choice.selectedOptions[0].textContent;
      }
    }

    function flicker() {
      if (timer === null) {
        timer = setInterval(() => {
          over.style.visibility = over.style.visibility === "hidden" ? "visible" : "hidden";
        }, still.matches ? 2000 : 500);
      } else {
        clearInterval(timer);
        timer = null;
      }
      find("flicker").setAttribute("aria-pressed", timer !== null);
      show();
    }

    function swap() {
      [left.value, right.value] = [right.value, left.value];
      choose();
    }

    function drag(event) {
      if (!event.buttons) return;
      const box = find("viewer").getBoundingClientRect();
      slider.value = 100 * (event.clientX - box.left) / box.width;
      show();
    }

    slider.addEventListener("input", show);
    left.addEventListener("change", choose);
    right.addEventListener("change", choose);
    find("flicker").addEventListener("click", flicker);
    find("swap").addEventListener("click", swap);
    find("viewer").addEventListener("pointerdown", drag);
    find("viewer").addEventListener("pointermove", drag);
    Object.assign(keys, { f: flicker, x: swap });
    choose();
    show();
    if (find("overlay")) {
      find("depth").style.filter = "url(#colours)";
      find("overlay").addEventListener("input", () => {
        find("depth").style.opacity = find("overlay").value / 100;
        find("depth").hidden = find("overlay").value === "0";
      });
    }
  }

  // --- a surface: a grid of points, painted from the back to the front
  const POINTS = 96;

  async function load(address) {
    const image = new Image();
    image.src = address;
    await image.decode();
    return image;
  }

  function reduced(width, height) {
    const scale = Math.min(1, POINTS / Math.max(width, height));
    return [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  }

  function pixels(image, width, height) {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.imageSmoothingQuality = "high";
    pen.drawImage(image, 0, 0, width, height);
    return pen.getImageData(0, 0, width, height).data;
  }

  async function surface(canvas) {
    const pen = canvas.getContext("2d");
    const [depth, colours] = await Promise.all([canvas.dataset.depth, canvas.dataset.colours].map(load));
    const [width, height] = reduced(depth.naturalWidth, depth.naturalHeight);
    const heights = pixels(depth, width, height).filter((_, i) => i % 4 === 0);
    const shades = pixels(colours, width, height);
    const paints = Array.from({ length: width * height }, (_, i) =>
      `rgb(${shades[4 * i]},${shades[4 * i + 1]},${shades[4 * i + 2]})`);
    const view = { turn: 0.5, tilt: 0.7, tall: 0.35 };
    let asked = false;

    function draw() {
      asked = false;
      const [sin, cos] = [Math.sin(view.turn), Math.cos(view.turn)];
      const [up, flat] = [Math.cos(view.tilt), Math.sin(view.tilt)];
      const side = Math.max(width, height);
      const scale = 0.72 * Math.min(canvas.width, 1.4 * canvas.height) / side;
      const [xs, ys] = [new Float32Array(width * height), new Float32Array(width * height)];
      for (let row = 0, i = 0; row < height; row++) {
        for (let column = 0; column < width; column++, i++) {
          const [x, y] = [column - width / 2, row - height / 2];
          const z = (heights[i] / 255 - 0.5) * view.tall * side;
          xs[i] = canvas.width / 2 + scale * (x * cos - y * sin);
          ys[i] = canvas.height / 2 + scale * ((x * sin + y * cos) * flat - z * up);
        }
      }
      pen.clearRect(0, 0, canvas.width, canvas.height);
      // Rows and columns in the order in which they come nearer.
      const rows = ascending(height - 1, cos >= 0);
      const columns = ascending(width - 1, sin >= 0);
      for (const row of rows) {
        for (const column of columns) {
          const i = row * width + column;
          pen.fillStyle = pen.strokeStyle = paints[i];
          pen.beginPath();
          pen.moveTo(xs[i], ys[i]);
          pen.lineTo(xs[i + 1], ys[i + 1]);
          pen.lineTo(xs[i + width + 1], ys[i + width + 1]);
          pen.lineTo(xs[i + width], ys[i + width]);
          pen.closePath();
          pen.fill();
          pen.stroke();
        }
      }
      canvas.dataset.turn = view.turn.toFixed(3);
    }

    function ascending(count, forwards) {
      return Array.from({ length: count }, (_, i) => forwards ? i : count - 1 - i);
    }

    function turn(by, tilt, tall = 1) {
      view.turn += by;
      view.tilt = Math.min(1.5, Math.max(0.1, view.tilt + tilt));
      view.tall = Math.min(1.5, Math.max(0.02, view.tall * tall));
      if (!asked) {
        asked = true;
        requestAnimationFrame(draw);
      }
    }

    const turns = {
      ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1],
      "+": [0, 0, 1.2], "-": [0, 0, 1 / 1.2],
    };
    canvas.addEventListener("keydown", (event) => {
      if (turns[event.key]) {
        event.preventDefault();
        turn(...turns[event.key]);
      }
    });
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) turn(event.movementX / 150, event.movementY / 150);
    });
    draw();
  }

  if (find("viewer")) compare();
  const canvas = find("surface");
  // What cannot be read is not shown.
  if (canvas) surface(canvas).catch(() => { canvas.closest("section").hidden = true; });
})();
