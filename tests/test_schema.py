from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edge.errors import UsageError
from edge.events import MAX_PICTURE_BYTES, subscriptions
from edge.schema import CHANNELS, asyncapi, documents, text
from edge.schema_cli import schema

WIRE = Path(__file__).parent.parent / "docs" / "wire"


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


def resolve(document: object, reference: str) -> object:
    for part in reference.removeprefix("#/").split("/"):
        assert isinstance(document, dict)
        document = document[part]
    return document


def test_docs_hold_what_the_models_say_now() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in WIRE.glob("*.json")}
    assert kept == {name: text(document) for name, document in documents().items()}, "run: make wire"


@pytest.mark.parametrize("name", documents())
def test_every_reference_holds_within_its_document(name: str) -> None:
    document = json.loads(text(documents()[name]))
    found = references(document)
    assert found
    for reference in found:
        assert isinstance(resolve(document, reference), dict), reference


def test_every_topic_of_the_wire_is_a_channel_with_its_qos() -> None:
    document = asyncapi()
    described = {
        re.sub(r"{\w+}", "+", channel["address"]): document["operations"][f"send-{name}"]["bindings"]["mqtt"][
            "qos"
        ]
        for name, channel in document["channels"].items()
    }
    assert described == dict(subscriptions())


def test_only_the_status_is_retained() -> None:
    operations = asyncapi()["operations"]
    retained = [name for name, operation in operations.items() if operation["bindings"]["mqtt"]["retain"]]
    assert retained == ["send-status"]


def test_every_word_of_an_address_is_a_described_parameter() -> None:
    for channel in asyncapi()["channels"].values():
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"])


def test_pictures_are_bytes_of_a_named_type_with_a_limit() -> None:
    messages = asyncapi()["components"]["messages"]
    assert {messages[name]["contentType"] for name in ("snapshot", "heatmap")} == {"image/jpeg", "image/png"}
    assert all(
        messages[name]["payload"]["maxLength"] == MAX_PICTURE_BYTES for name in ("snapshot", "heatmap")
    )


def test_the_verb_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    schema(out=None)
    assert json.loads(capsys.readouterr().out) == json.loads(text(asyncapi()))


def test_the_verb_writes_all_files_into_a_new_folder(tmp_path: Path) -> None:
    schema(out=tmp_path / "a" / "b")
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == set(documents())
    assert len(documents()) == 1 + sum(channel.model is not None for channel in CHANNELS)


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--out .*file/x: Not a directory"):
        schema(out=tmp_path / "file" / "x")
