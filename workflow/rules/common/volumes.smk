"""What the prediction of volumes takes."""

VOLUMES = config["volumes"]["images"]
LIBRARIES_MB = 3000 if config["hardware"] == "gpu" else 1000  # beside what a plan is given
VOLUME_CODE = code_of("predict_volume", "unetcore.volumes")


wildcard_constraints:
    volume="|".join(map(re.escape, VOLUMES)) or "none",


def volume_setting(key, default=None):
    """Input or param function: a setting of the rule's volume."""
    return lambda wildcards: VOLUMES[wildcards.volume].get(key, default)


def volume_image(wildcards):
    """Param function: OME-Zarr image with the result of a volume."""
    return f"{results_folder()}/volumes/{wildcards.volume}/probability.zarr"


def volume_memory(wildcards):
    """MB that a job of a volume asks for."""
    return config["volumes"]["memory_mb"] + LIBRARIES_MB


def volume_files():
    """What is made of all volumes: results, and the metrics of those that have labels."""
    return [
        *(f"results/volumes/{name}/probability.json" for name in VOLUMES),
        *(f"results/volumes/{name}/metrics.json" for name, v in VOLUMES.items() if v.get("labels")),
    ]
