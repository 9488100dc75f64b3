import io
import json
import threading

import pytest
import structlog

from protocol.logs import configure_logs


@pytest.fixture(autouse=True)
def _reset():
    yield
    structlog.reset_defaults()


def test_json_lines_carry_what_is_bound_from_any_thread(capsys):
    configure_logs("info", "json", host="h1")
    log = structlog.get_logger("x")
    thread = threading.Thread(target=lambda: log.info("hello", operation="7"))
    thread.start()
    thread.join()
    line = json.loads(capsys.readouterr().err)
    assert (line["host"], line["operation"], line["event"], line["level"]) == ("h1", "7", "hello", "info")


def test_lower_levels_are_left_out(capsys):
    configure_logs("warning", "text")
    log = structlog.get_logger("x")
    log.info("quiet")
    log.warning("loud")
    err = capsys.readouterr().err
    assert "loud" in err
    assert "quiet" not in err


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_shows_no_local_values(form, capsys):
    configure_logs("info", form)
    secret = "s3cret-value"
    try:
        raise ValueError(len(secret))
    except ValueError:
        structlog.get_logger("x").exception("it broke")
    err = capsys.readouterr().err
    assert "ValueError" in err
    assert "s3cret-value" not in err.replace('secret = "s3cret-value"', "")


@pytest.mark.parametrize(("level", "form"), [("loud", "text"), ("info", "xml")])
def test_unknown_choices_are_refused(level, form):
    with pytest.raises(ValueError, match="must be"):
        configure_logs(level, form)


def test_a_standard_error_that_is_gone_stops_nothing(monkeypatch):
    configure_logs("info", "json")
    gone = io.StringIO()
    gone.close()
    monkeypatch.setattr("sys.stderr", gone)
    structlog.get_logger("x").warning("nobody hears this")
