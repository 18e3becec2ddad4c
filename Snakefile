"""U-Net (Ronneberger, Fischer, Brox 2015): from archives of images to tables, figures, claims."""

from snakemake.utils import min_version

min_version("9.9")


include: "workflow/rules/source.smk"


configfile: default_config()


report: "workflow/report/workflow.rst"


include: "workflow/rules/config.smk"


container: config["container"]


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/view.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/paper_figures.smk"
include: "workflow/rules/study.smk"
include: "workflow/rules/tiles_or_batches.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/records.smk"
include: "workflow/rules/publish.smk"
include: "workflow/rules/bundle.smk"
include: "workflow/rules/volumes.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/handlers.smk"


rule all:
    """What runs when no target is named: the demo."""
    default_target: True
    input:
        rules.demo.input,
    localrule: True
