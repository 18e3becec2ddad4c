#!/bin/sh
# What an image holds; Containerfile and apptainer.def both run it, from the top of the source:
#
#     install-image.sh libraries cpu|cuda   the locked libraries and Snakemake, for `python`
#     install-image.sh command FOLDER       the package and its command `unet`, in an environment there
#
# `python` itself does not find the package: a job of Snakemake would take it before that of the
# checkout, which Snakemake puts behind all that an image has. TORCH_CPU_INDEX: a mirror of the
# index that has torch without CUDA.
set -eu

libraries() {
    case $1 in
        cpu) set -- --extra-index-url "${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu}" ;;
        cuda) set -- ;;
        *)
            echo "HARDWARE is '$1': need cpu or cuda" >&2
            exit 2
            ;;
    esac
    requirements=$(mktemp)
    python - > "$requirements" << 'END'
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
extras = project["optional-dependencies"]
print(*project["dependencies"], *extras["tensorboard"], *extras["workflow"], sep="\n")
END
    python -m pip install --no-cache-dir --constraint requirements.lock "$@" \
        --requirement "$requirements"
    rm "$requirements"
}

command_unet() {
    python -m venv --system-site-packages --without-pip "$1"
    python -m pip --python "$1" install --no-cache-dir --no-deps .
    ln -s "$1/bin/unet" "$(dirname "$(command -v python)")/unet"
}

case $1 in
    libraries) libraries "$2" ;;
    command) command_unet "$2" ;;
    *)
        echo "$0 $1: need libraries or command" >&2
        exit 2
        ;;
esac
