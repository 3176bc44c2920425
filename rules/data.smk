# From the official archives to splits. Where an archive is fetched from (`mirrors`, `urls`) is read by the script
# from the configuration and is no parameter: it does not make the archive another one.


rule download_dataset:
    output:
        "results/downloads/{dataset}/{archive}",
    log:
        "logs/downloads/{dataset}/{archive}.log",
    benchmark:
        "logs/downloads/{dataset}/{archive}.tsv"
    priority: 1  # what cannot be had is known in the first minutes of a long run
    conda:
        "../envs/workflow.yaml"
    params:
        archive="{archive}",
        checksum=lambda w: C.file(w.dataset, w.archive)["checksum"],
        code=code("download_dataset.py"),
    script:
        "../workflow_scripts/download_dataset.py"


rule prepare_dataset:
    input:
        unpack(archives_of),
    output:
        train="results/data/{dataset}/train.npz",
        validation="results/data/{dataset}/validation.npz",
        calibration="results/data/{dataset}/calibration.npz",
        test="results/data/{dataset}/test.npz",
        summary="results/data/{dataset}/summary.json",
    log:
        "logs/data/{dataset}.log",
    benchmark:
        "logs/data/{dataset}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        name="{dataset}",
        # not within: the order of split folders is that of the samples
        dataset=lambda w: dict(sorted(C.data_parameters(w.dataset).items())),
        folder_sha256=lambda w: C.dataset(w.dataset)["path"] and sha256_folder(C.dataset(w.dataset)["path"]),
        code=lambda w: code(
            "prepare_dataset.py",
            module_name("data.formats", C.dataset(w.dataset)["format"]),
        ),
    script:
        "../workflow_scripts/prepare_dataset.py"
