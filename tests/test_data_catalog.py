from pathlib import Path

import pytest
import yaml

from unetcore.data.canonical import LAYOUTS
from unetcore.data.catalog import read_catalog
from unetcore.errors import InputError

ROOT = Path(__file__).parent.parent
CATALOG = ROOT / "resources" / "datasets.yaml"
SCHEMA = ROOT / "workflow" / "schemas" / "datasets.schema.yaml"


@pytest.fixture
def entries():
    return yaml.safe_load(CATALOG.read_text())


@pytest.fixture
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    schema = yaml.safe_load(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_datasets():
    catalog = read_catalog(CATALOG)
    assert list(catalog) == ["isbi2012", "dic-hela", "phc-u373", "phantom-em", "phantom-cells"]
    assert catalog["dic-hela"].partial == ("01-067",)
    assert catalog["dic-hela"].field_of_interest == 50
    assert catalog["phc-u373"].pixel_size == 0.65
    assert catalog["isbi2012"].sha256 is None
    assert catalog["phantom-em"].generator == "phantom-em"
    assert catalog["phantom-em"].url is None
    for name, dataset in catalog.items():
        assert dataset.name == name
        assert dataset.layout in LAYOUTS
        assert (dataset.url is None) != (dataset.generator is None)


def test_downloaded_data_state_their_terms_and_citation():
    for dataset in read_catalog(CATALOG).values():
        if dataset.url:
            assert dataset.url.endswith("/" + dataset.archive)
            assert dataset.citation
            assert "Cite" in dataset.terms


def test_the_schema_accepts_the_catalogue(entries, validator):
    assert list(validator.iter_errors(entries)) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("isbi2012", {"sha265": None}),
        ("isbi2012", {"sha256": "abc"}),
        ("isbi2012", {"url": "http://example.org/a.zip"}),
        ("isbi2012", {"seed": 1}),
        ("isbi2012", {"layout": "isbi"}),
        ("isbi2012", {"members": {"a.tif": "abc"}}),
        ("isbi2012", {"pixels": {"train": "0" * 64}}),
        ("dic-hela", {"field_of_interest": -1}),
        ("dic-hela", {"pixel_size": 0}),
        ("phantom-em", {"generator": "phantom"}),
        ("phantom-em", {"url": "https://example.org/a.zip"}),
    ],
)
def test_the_schema_refuses_mistakes(entries, validator, name, change):
    entries[name].update(change)
    assert not validator.is_valid(entries)


@pytest.mark.parametrize("key", ["title", "layout", "archive", "sha256", "terms", "partial"])
def test_no_key_may_be_left_out(entries, validator, tmp_path, key):
    del entries["isbi2012"][key]
    assert not validator.is_valid(entries)
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump(entries))
    with pytest.raises(InputError, match=f"isbi2012: key '{key}' is missing"):
        read_catalog(tmp_path / "datasets.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {titel: b}", "a: unknown key 'titel'"),
        ("a: b", "a: expected keys and values"),
        ("- a", "expected one entry per dataset"),
        ("a: [", "not a YAML file"),
    ],
)
def test_a_broken_catalogue(tmp_path, text, message):
    (tmp_path / "datasets.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"datasets\.yaml: {message}"):
        read_catalog(tmp_path / "datasets.yaml")


def test_a_missing_catalogue(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_catalog(tmp_path / "datasets.yaml")
