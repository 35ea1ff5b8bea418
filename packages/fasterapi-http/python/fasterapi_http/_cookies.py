"""Set-Cookie fields (RFC 6265 section 4.1)."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal

SameSite = Literal["lax", "strict", "none"]


def format_cookie(
    key: str,
    value: str = "",
    max_age: int | None = None,
    expires: datetime | str | int | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: SameSite | None = "lax",
    partitioned: bool = False,
) -> str:
    """The value of a Set-Cookie field. ``max_age`` and an int ``expires`` are seconds from now."""
    from email.utils import format_datetime, formatdate
    from http.cookies import SimpleCookie

    cookie: SimpleCookie = SimpleCookie()
    cookie[key] = value
    parts = [cookie.output(header="", attrs=[]).strip()]
    if domain is not None:
        parts.append(f"Domain={_plain(domain, 'domain')}")
    if expires is not None:
        if isinstance(expires, datetime):
            expires = format_datetime(expires.astimezone(timezone.utc), usegmt=True)
        elif isinstance(expires, int):
            expires = formatdate(datetime.now(timezone.utc).timestamp() + expires, usegmt=True)
        parts.append(f"expires={_plain(expires, 'expires')}")
    if httponly:
        parts.append("HttpOnly")
    if max_age is not None:
        parts.append(f"Max-Age={int(max_age)}")
    if partitioned:
        parts.append("Partitioned")
    if path is not None:
        parts.append(f"Path={_plain(path, 'path')}")
    if samesite is not None:
        if samesite.lower() not in ("lax", "strict", "none"):
            raise ValueError("samesite must be 'lax', 'strict' or 'none'")
        parts.append(f"SameSite={samesite}")
    if secure:
        parts.append("Secure")
    return "; ".join(parts)


def format_deletion(
    key: str,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: SameSite | None = "lax",
) -> str:
    """The Set-Cookie field that makes a client forget a cookie."""
    return format_cookie(
        key,
        max_age=0,
        expires=0,
        path=path,
        domain=domain,
        secure=secure,
        httponly=httponly,
        samesite=samesite,
    )


def _plain(text: str, what: str) -> str:
    if ";" in text or "\r" in text or "\n" in text:
        raise ValueError(f"cookie {what} must not contain ';' or line breaks")
    return text
