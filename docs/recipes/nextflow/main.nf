// Every folder below params.stacks is a stack:  nextflow run main.nf --stacks photos
include { BATCHSTACK_FUSE } from './batchstack/fuse/main'

workflow {
    stacks = Channel
        .fromPath("${params.stacks}/*", type: 'dir')
        .map { folder -> [ [ id: folder.name ], folder.listFiles().sort() ] }
    BATCHSTACK_FUSE(stacks)
    BATCHSTACK_FUSE.out.fused.view { meta, files -> "${meta.id}: ${files}" }
}
