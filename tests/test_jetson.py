"""The board's own files, on made-up trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.jetson import Reading, board_facts, read_board


def written(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


ORIN = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE\n< POWER_MODEL ID=2 NAME=15W >\n",
    "var/lib/nvpmodel/status": "pmode:0002 fmode:fanNull\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48531\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "729600\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "1510400\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5024\n",
    "sys/class/hwmon/hwmon1/curr1_input": "880\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "5024\n",
    "sys/class/hwmon/hwmon1/curr2_input": "144\n",
    "sys/class/hwmon/hwmon1/in7_label": "sum of shunt voltages\n",
    "sys/class/hwmon/hwmon1/in7_input": "5\n",
    "sys/class/hwmon/hwmon2/name": "nvme\n",
    "sys/class/hwmon/hwmon2/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon2/in1_input": "9999\n",
    "sys/class/hwmon/hwmon2/curr1_input": "9999\n",
}


def test_a_jetson_tells_temperatures_clocks_and_rails(tmp_path: Path) -> None:
    found = read_board(written(tmp_path, ORIN))
    assert found.temperatures_c == {"cpu-thermal": 48.531}
    assert found.clocks_mhz == {"cpu0": 729.6, "17000000.gpu": 306.0}
    assert found.rails_mw == pytest.approx({"VDD_IN": 4421.12, "VDD_CPU_GPU_CV": 723.456})


def test_the_facts_name_module_release_power_mode_and_whether_clocks_move(tmp_path: Path) -> None:
    assert board_facts(written(tmp_path, ORIN)) == {
        "module": "NVIDIA Jetson Orin Nano Developer Kit",
        "l4t": "36.4.3",
        "nvpmodel": "2 (15W)",
        "clocks": "scaling",
    }


def test_clocks_are_pinned_where_least_and_most_agree(tmp_path: Path) -> None:
    pinned = {**ORIN, "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "1510400"}
    assert board_facts(written(tmp_path, pinned))["clocks"] == "pinned"


def test_a_mode_without_a_configuration_keeps_its_number(tmp_path: Path) -> None:
    root = written(tmp_path, {"var/lib/nvpmodel/status": "pmode:0008"})
    assert board_facts(root) == {"nvpmodel": "8"}


def test_cores_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = {f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq": "1000000" for n in (10, 2, 0)}
    assert list(read_board(written(tmp_path, files)).clocks_mhz) == ["cpu0", "cpu2", "cpu10"]


@pytest.mark.parametrize("content", ["", "none", "\xff\xfe", "1e3", "nan"])
def test_what_is_no_number_is_left_out(tmp_path: Path, content: str) -> None:
    files = {
        "sys/class/thermal/thermal_zone0/type": "cpu",
        "sys/class/thermal/thermal_zone0/temp": content,
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": content,
        "sys/class/devfreq/gpu/cur_freq": content,
        "sys/class/hwmon/hwmon0/name": "ina3221",
        "sys/class/hwmon/hwmon0/in1_label": "VDD_IN",
        "sys/class/hwmon/hwmon0/in1_input": content,
        "sys/class/hwmon/hwmon0/curr1_input": "100",
    }
    assert read_board(written(tmp_path, files)) == Reading()


def test_a_machine_that_has_none_of_it_says_nothing(tmp_path: Path) -> None:
    assert read_board(tmp_path) == Reading()
    assert board_facts(tmp_path) == {}
