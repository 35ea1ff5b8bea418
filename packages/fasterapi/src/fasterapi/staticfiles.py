"""Files of a directory: ``app.mount("/static", StaticFiles(directory="static"))``."""

from __future__ import annotations

import email.utils
import os
import stat
from collections.abc import Sequence

from .concurrency import run_in_threadpool
from .datastructures import URL, Headers
from .exceptions import HTTPException
from .responses import FileResponse, RedirectResponse, Response
from .types import Receive, Scope, Send


class StaticFiles:
    """Serves the files below ``directory``; with ``html=True`` also index.html for directories and 404.html.

    Paths that leave the directory, by dots or (unless ``follow_symlink``) by links, are not found.
    RuntimeError when the directory does not exist and ``check_dir`` is set.
    """

    def __init__(
        self,
        *,
        directory: str | os.PathLike[str] | None = None,
        html: bool = False,
        check_dir: bool = True,
        follow_symlink: bool = False,
        packages: Sequence[str | tuple[str, str]] | None = None,
    ) -> None:
        self.html = html
        self.follow_symlink = follow_symlink
        self.directories: list[str] = [os.fspath(directory)] if directory is not None else []
        for package in packages or ():
            name, folder = (package, "statics") if isinstance(package, str) else package
            import importlib.util

            spec = importlib.util.find_spec(name)
            assert spec is not None and spec.origin is not None, f"Package {name!r} could not be found."
            self.directories.append(os.path.join(os.path.dirname(spec.origin), folder))
        if check_dir and directory is not None and not os.path.isdir(directory):
            raise RuntimeError(f"Directory '{directory}' does not exist")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        root = scope.get("root_path", "")
        path = scope["path"].removeprefix(root)
        response = await self.get_response(os.path.normpath(path.lstrip("/") or "."), scope)
        await response(scope, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the response for a path relative to the directory; HTTPException 404, 405 or 401."""
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405)
        try:
            full, found = await run_in_threadpool(self.lookup_path, path)
        except PermissionError:
            raise HTTPException(401) from None
        except (OSError, ValueError):
            raise HTTPException(404) from None
        if found is not None and stat.S_ISREG(found.st_mode):
            return self.file_response(full, found, scope)
        if found is not None and stat.S_ISDIR(found.st_mode) and self.html:
            full, index = await run_in_threadpool(self.lookup_path, os.path.join(path, "index.html"))
            if index is not None and stat.S_ISREG(index.st_mode):
                if not scope["path"].endswith("/"):
                    url = URL(scope=scope)
                    return RedirectResponse(str(url.replace(path=url.path + "/")))
                return self.file_response(full, index, scope)
        if self.html:
            full, found = await run_in_threadpool(self.lookup_path, "404.html")
            if found is not None and stat.S_ISREG(found.st_mode):
                return FileResponse(full, stat_result=found, status_code=404)
        raise HTTPException(404)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Return the full path and its status, or ("", None)."""
        for directory in self.directories:
            base = os.path.abspath(directory) if self.follow_symlink else os.path.realpath(directory)
            joined = os.path.join(directory, path)
            full = os.path.abspath(joined) if self.follow_symlink else os.path.realpath(joined)
            if os.path.commonpath([full, base]) != base:
                continue
            try:
                return full, os.stat(full)
            except (FileNotFoundError, NotADirectoryError):
                continue
        return "", None

    def file_response(self, full: str, found: os.stat_result, scope: Scope) -> Response:
        """Return the file, or 304 when the client has it."""
        response = FileResponse(full, stat_result=found)
        if self.is_not_modified(
            response.headers["etag"], response.headers["last-modified"], Headers(scope=scope)
        ):
            kept = {
                name: value
                for name, value in response.headers.items()
                if name.lower() in ("cache-control", "content-location", "date", "etag", "expires", "vary")
            }
            return Response(None, status_code=304, headers=kept)
        return response

    @staticmethod
    def is_not_modified(etag: str, last_modified: str, request: Headers) -> bool:
        """Apply If-None-Match, and If-Modified-Since only without it (RFC 9110 section 13.2.2)."""
        tags = request.get("if-none-match")
        if tags is not None:
            return tags.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        since = email.utils.parsedate(request.get("if-modified-since", ""))
        modified = email.utils.parsedate(last_modified)
        return since is not None and modified is not None and since >= modified


__all__ = ["StaticFiles"]
