"""What pages to look at predictions take."""

from hashlib import sha256


def view_files(table):
    """Pages of the experiments of a table, each of the prediction that figures show."""
    predictions = [
        Path(example_file(name, "metrics.json")).parent for name in config["tables"][table]
    ]
    return [
        f"results/views/{folder.relative_to('results/predictions')}.html" for folder in predictions
    ]


def objects_of_page(wildcards):
    """Param function: how the page separates objects; of membranes, small ones count as well."""
    settings = EXPERIMENTS[wildcards.experiment]["postprocessing"]
    return settings if has_cells(wildcards.experiment) else settings | {"smallest_object": 0}


def field_of_interest_if_cells(wildcards):
    """Param function: margin in px whose objects are left out, as the rule segment does."""
    return dataset_of(wildcards).field_of_interest if has_cells(wildcards.experiment) else 0


def view_code(wildcards):
    """Param function: digest of the code of a page, also of that which runs in the browser."""
    assets = sorted(
        path
        for path in (SOURCE / "unetcore/view").iterdir()
        if path.suffix in (".css", ".html", ".js")
    )
    in_browser = sha256(b"".join(path.read_bytes() for path in assets)).hexdigest()
    return f"{digest_of(HERE / '../scripts/view.py')}-{in_browser[:16]}"
