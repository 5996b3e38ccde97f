from __future__ import annotations

import subprocess
import sys

import pytest

USES = {
    "import asyncio; assert asyncio.run(asyncio.sleep(0, 5)) == 5": "an attribute",
    "from asyncio import sleep, run; assert run(sleep(0, 5)) == 5": "a name in it",
    "import asyncio.subprocess; assert asyncio.subprocess.PIPE == -1": "a module below it",
    "import pydantic_settings.main as user; assert user.asyncio.run.__name__ == 'run'": "by its importer",
}


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_reading_settings_does_not_import_asyncio() -> None:
    code = "import sys, edge.settings; print('asyncio.base_events' in sys.modules, 'asyncio' in sys.modules)"
    assert python(code) == "False True"


@pytest.mark.parametrize("use", USES, ids=USES.values())
def test_asked_for_something_it_is_there(use: str) -> None:
    assert python(f"import edge.settings; {use}; import sys; print(sys.modules['asyncio'].__file__)")


@pytest.mark.parametrize(
    "use",
    [
        "import urllib.request; proxies = urllib.request.getproxies",
        "from urllib.request import getproxies as proxies",
        "from urllib import request; proxies = request.getproxies",
    ],
)
def test_a_module_of_a_package_is_there_when_asked_for(use: str) -> None:
    code = f"from edge.deferred import defer; defer('urllib.request'); import sys; {use}; proxies()"
    assert python(f"{code}; import urllib.request; print('http.client' in sys.modules)") == "True"


def test_what_is_imported_already_stays() -> None:
    assert (
        python("import asyncio, edge.settings; import sys; print(sys.modules['asyncio'] is asyncio)")
        == "True"
    )
