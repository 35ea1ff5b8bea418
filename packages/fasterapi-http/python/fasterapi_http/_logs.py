"""Logging of the program: handlers for the package's loggers, unless the program has configured logging itself."""

from __future__ import annotations

import json
import logging
import logging.config
import sys

from ._config import Config, ConfigError

TRACE = 5


class _Formatter(logging.Formatter):
    """``INFO:     text``; only the level is coloured, and only on a terminal."""

    _COLOURS = {"DEBUG": 36, "INFO": 32, "WARNING": 33, "ERROR": 31, "CRITICAL": 91}

    def __init__(self, colours: bool) -> None:
        super().__init__("%(levelprefix)s %(message)s")
        self._colours = colours

    def formatMessage(self, record: logging.LogRecord) -> str:
        padding = " " * (8 - len(record.levelname))
        name = record.levelname
        if self._colours:
            name = f"\033[{self._COLOURS.get(name, 0)}m{name}\033[0m"
        record.levelprefix = f"{name}:{padding}"
        return super().formatMessage(record)


def configure_logging(config: Config) -> None:
    """Give the package's loggers a handler on stderr unless the program has configured logging itself.

    Raises ConfigError when ``log_config`` cannot be read.
    """
    logging.addLevelName(TRACE, "TRACE")
    if config.log_config is not None:
        try:
            _from_file(config.log_config)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ConfigError(f"--log-config: {error}") from None
        return
    logger = logging.getLogger("fasterapi")
    logger.setLevel(config.log_level.upper())
    if not logger.handlers and not logging.getLogger().handlers:
        colours = sys.stderr.isatty() if config.use_colors is None else config.use_colors
        handler = logging.StreamHandler()
        handler.setFormatter(_Formatter(colours))
        logger.addHandler(handler)
        logger.propagate = False


def writes_itself(config: Config) -> bool:
    """Whether the access log is written natively; else its lines go to the logger ``fasterapi.access``.

    They do when the program has configured logging itself and asks for neither a file nor a format.
    """
    if config.access_log_file or config.access_log_format:
        return True
    if config.log_config is not None or config.log_level in ("critical", "error", "warning"):
        return False
    return any(
        isinstance(handler.formatter, _Formatter) for handler in logging.getLogger("fasterapi").handlers
    )


def default_access_format(config: Config) -> str:
    """uvicorn's line."""
    colours = sys.stdout.isatty() if config.use_colors is None else config.use_colors
    level = "\033[32mINFO\033[0m" if colours else "INFO"
    return level + ':     %(client_addr)s - "%(request_line)s" %(status_code)s'


def _from_file(source: object) -> None:
    if isinstance(source, dict):
        values = dict(source)
    elif isinstance(source, str) and source.endswith((".json", ".yaml", ".yml")):
        with open(source, encoding="utf-8") as file:
            if source.endswith(".json"):
                values = json.load(file)
            else:
                try:
                    import yaml  # type: ignore[import-untyped, unused-ignore]
                except ImportError:
                    raise ImportError(f"{source} needs the package PyYAML") from None
                values = yaml.safe_load(file)
    else:
        with open(str(source), encoding="utf-8") as file:
            logging.config.fileConfig(file, disable_existing_loggers=False)
        return
    values.setdefault("disable_existing_loggers", False)  # ours exist already
    logging.config.dictConfig(values)
