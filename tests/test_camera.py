from __future__ import annotations

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge.camera import CaptureCamera, EitherCamera, FakeCamera, Shot, Wish, v4l2_camera
from edge.errors import CameraError
from edge.frames import Picture
from edge.pipeline import EndOfStream
from edge.streams import StreamCamera
from edge.videos import bgr
from tests.filming import film
from tests.rtsp_server import Manners, RtspServer


@pytest.fixture(scope="module")
def raw_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 of which each picture fits one RTP packet: one slice, no waiting for later pictures."""
    path = tmp_path_factory.mktemp("camera") / "card.h264"
    return film(path, seconds=1, options=["-tune", "zerolatency", "-x264-params", "slices=1"])


@pytest.fixture(scope="module")
def ts_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("stream") / "card.ts", seconds=1)


def shown(shot: Shot | None) -> Picture:
    assert shot is not None
    return shot()


def opened(uri: str, timeout_s: float = 5.0) -> StreamCamera:
    camera = StreamCamera(uri, "cam://shown", timeout_s)
    camera.open()
    return camera


def exhaust(camera: StreamCamera) -> None:
    for _ in range(61):
        camera.read()


def refusal(uri: str, timeout_s: float = 5.0) -> CameraError:
    with pytest.raises(CameraError) as caught:
        opened(uri, timeout_s)
    return caught.value


# --- streams ---------------------------------------------------------------------------------------


def test_an_rtsp_camera_gives_pictures(raw_film: Path) -> None:
    with RtspServer(raw_film) as server:
        camera = opened(server.uri())
        pictures = [shown(camera.read()) for _ in range(5)]
        camera.close()
    assert all(picture.shape == (48, 64, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert pictures[0].std() > 50  # the test card, not a blank
    assert not np.array_equal(pictures[0], pictures[4])


def test_pictures_larger_than_a_packet_arrive_as_they_were_filmed(tmp_path: Path) -> None:
    one_slice = ["-tune", "zerolatency", "-x264-params", "slices=1", "-vf", "noise=alls=40:allf=t"]
    large = film(tmp_path / "large.h264", size="640x360", seconds=1, options=one_slice)
    with av.open(str(large)) as container:
        filmed = [bgr(picture) for picture in container.decode(video=0)]
    with RtspServer(large) as server:
        camera = opened(server.uri())
        arrived = [shown(camera.read()) for _ in range(len(filmed))]
        camera.close()
    assert large.stat().st_size > 20 * 1400 * len(filmed)  # twenty packets a picture and more
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(arrived, filmed, strict=True))


def test_an_rtsp_camera_with_a_login_opens(raw_film: Path) -> None:
    with RtspServer(raw_film, Manners(login="guard:hunter2")) as server:
        camera = opened(server.uri("guard:hunter2"))
        assert shown(camera.read()).shape == (48, 64, 3)
        camera.close()


def test_a_refused_login_says_so_and_repeats_no_secret(raw_film: Path) -> None:
    with RtspServer(raw_film, Manners(login="guard:hunter2")) as server:
        error = refusal(server.uri("guard:hunter3"))
    assert str(error).startswith("Camera cam://shown cannot be opened: Server returned 401 Unauthorized")
    assert "hunter" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"


def test_a_camera_that_is_not_there_is_refused_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = refusal(f"rtsp://guard:hunter2@127.0.0.1:{port}/main")
    assert "Connection refused; check the address" in str(error)
    assert "hunter2" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"


@pytest.mark.parametrize("scheme", ["rtsp", "http", "tcp"])
def test_a_camera_that_never_answers_is_given_up_within_the_timeout(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = refusal(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/main", timeout_s=0.3)
    assert "no answer within 0.3 s" in str(error)


@pytest.mark.parametrize("silent", [True, False])
def test_a_camera_that_falls_silent_or_hangs_up_fails_and_opens_again(raw_film: Path, silent: bool) -> None:
    with RtspServer(raw_film, Manners(frames=60, silent=silent, fps=200)) as server:
        camera = opened(server.uri(), timeout_s=0.7)
        with pytest.raises(CameraError, match=r"Camera cam://shown stopped sending: .*(in time|ended)"):
            exhaust(camera)
        camera.close()
    with RtspServer(raw_film, port=server.port):
        camera.open()
        assert shown(camera.read()).shape == (48, 64, 3)
        camera.close()


def test_a_closed_camera_fails_rather_than_hangs(raw_film: Path) -> None:
    with RtspServer(raw_film) as server:
        camera = opened(server.uri())
        camera.close()
        with pytest.raises(CameraError):
            camera.read()


def test_mpegts_over_tcp_gives_pictures(ts_film: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_send, args=(listener, ts_film.read_bytes()), daemon=True).start()
        camera = opened(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        assert [shown(camera.read()).shape for _ in range(30)] == [(48, 64, 3)] * 30
        camera.close()


def _send(listener: socket.socket, data: bytes) -> None:
    client, _ = listener.accept()
    with client:
        client.sendall(data)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server over tmp_path."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=os.fspath(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_video_over_http_gives_pictures(web: str, ts_film: Path, tmp_path: Path) -> None:
    (tmp_path / "live.ts").write_bytes(ts_film.read_bytes())
    camera = opened(f"{web}/live.ts")
    assert shown(camera.read()).shape == (48, 64, 3)
    camera.close()
    assert "404" in str(refusal(f"{web}/absent.ts"))


def test_a_camera_cannot_make_us_open_our_own_files(web: str, ts_film: Path, tmp_path: Path) -> None:
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{ts_film}\n#EXT-X-ENDLIST\n"
    (tmp_path / "live.m3u8").write_text(playlist)
    refusal(f"{web}/live.m3u8", timeout_s=2)


def test_a_camera_without_video_is_refused(web: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>no stream here</html>" * 50)
    assert "cannot be opened" in str(refusal(f"{web}/page.html", timeout_s=2))


# --- OpenCV's captures -----------------------------------------------------------------------------


def test_a_capture_gives_pictures_until_it_fails_and_opens_again(ts_film: Path) -> None:
    camera = CaptureCamera("cam", lambda: cv2.VideoCapture(str(ts_film), cv2.CAP_FFMPEG), "check it")
    for _ in range(2):
        camera.open()
        assert [shown(camera.read()).shape for _ in range(30)] == [(48, 64, 3)] * 30
        with pytest.raises(CameraError, match="Camera cam stopped sending pictures"):
            camera.read()
        camera.close()


def test_a_capture_that_does_not_open_says_what_to_check(capfd: pytest.CaptureFixture[str]) -> None:
    camera = CaptureCamera("cam", lambda: cv2.VideoCapture("/dev/null", cv2.CAP_V4L2), "check the plug")
    with pytest.raises(CameraError, match=r"^Camera cam cannot be opened; check the plug\.$"):
        camera.open()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("device", "path"), [("97", "/dev/video97"), ("/dev/absent", "/dev/absent")])
def test_an_absent_usb_camera_is_named_with_those_that_are_there(device: str, path: str) -> None:
    with pytest.raises(CameraError, match=f"there is no {path}; this machine has "):
        v4l2_camera(device, "v4l2://x", Wish()).open()


def test_a_capture_decodes_only_what_is_looked_at(ts_film: Path) -> None:
    moments = iter(number / 30 for number in range(99))
    camera = CaptureCamera(
        "cam", lambda: cv2.VideoCapture(str(ts_film), cv2.CAP_FFMPEG), "", 6, moments.__next__
    )
    camera.open()
    shots = [camera.read() for _ in range(30)]
    assert [place for place, shot in enumerate(shots) if shot is not None] == [0, 5, 10, 15, 20, 25]
    camera.close()


def test_the_plain_way_is_taken_for_good_where_the_better_does_not_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    better = FakeCamera([], openings=[CameraError("no such element")], name="better")
    plain = FakeCamera([picture, CameraError("lost"), picture], name="plain")
    camera = EitherCamera(better, plain)
    camera.open()
    assert shown(camera.read()) is picture
    with pytest.raises(CameraError, match="lost"):
        camera.read()
    camera.close()
    camera.open()
    assert better.record == ["open", "close"]
    assert plain.record == ["open", "read", "convert", "read", "close", "open"]


def test_the_better_way_is_kept_where_it_opens() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    plain = FakeCamera([])
    camera = EitherCamera(FakeCamera([picture]), plain)
    camera.open()
    assert shown(camera.read()) is picture
    camera.close()
    assert plain.record == []


# --- the fake --------------------------------------------------------------------------------------


def test_the_fake_follows_its_script_and_records() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    camera = FakeCamera([picture, CameraError("lost")], openings=[CameraError("busy")])
    with pytest.raises(CameraError, match="busy"):
        camera.open()
    camera.open()
    assert shown(camera.read()) is picture
    with pytest.raises(CameraError, match="lost"):
        camera.read()
    with pytest.raises(EndOfStream):
        camera.read()
    camera.close()
    assert camera.record == ["open", "open", "read", "convert", "read", "read", "close"]
