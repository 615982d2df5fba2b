process BATCHSTACK_FUSE {
    tag "${meta.id}"
    label 'process_medium'

    // Built from docs/recipes/Dockerfile.
    container "batchstack:latest"

    input:
    tuple val(meta), path(frames, stageAs: 'frame??/*')

    output:
    tuple val(meta), path("${prefix}/*"), emit: fused
    path "versions.yml"                 , emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: '--methods bayesian,depth_map'
    prefix   = task.ext.prefix ?: "${meta.id}"
    """
    batchstack fuse \\
        ${args} \\
        -o ${prefix} \\
        ${frames}

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        batchstack: \$(batchstack --version | sed 's/.* //')
    END_VERSIONS
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    mkdir ${prefix}
    touch ${prefix}/focus_stacked_bayesian.tif

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        batchstack: \$(batchstack --version | sed 's/.* //')
    END_VERSIONS
    """
}
