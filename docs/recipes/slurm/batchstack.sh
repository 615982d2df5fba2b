#!/usr/bin/env bash
#SBATCH --job-name=batchstack
#SBATCH --ntasks=8
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=04:00:00
# A run on the machines of one job:    sbatch batchstack.sh manifest.csv fused
# The same again does what is left, for example of a job that came to the end of its time.
set -euo pipefail
manifest=$1
output=$2
shift 2

# On a disk that all machines see.
scheduler_file=$(mktemp -p . scheduler-XXXXXX.json)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -f "$scheduler_file"' EXIT
rm "$scheduler_file" # the scheduler writes it when it is ready

# Freed arrays stay with the worker for the next stack.
export MALLOC_TRIM_THRESHOLD_=536870912 MALLOC_MMAP_THRESHOLD_=536870912

dask scheduler --scheduler-file "$scheduler_file" --port 0 --no-dashboard &
srun --ntasks="${SLURM_NTASKS:-8}" \
    dask worker --scheduler-file "$scheduler_file" --nthreads 1 --no-dashboard &

until [ -s "$scheduler_file" ]; do sleep 0.2; done
batchstack run "$manifest" -o "$output" --scheduler-file "$scheduler_file" "$@"
