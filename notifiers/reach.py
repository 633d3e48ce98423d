"""Whether a web service answers at all, over the way that messages take: name, proxy, connection, TLS. Nothing is sent."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from notifiers.channel import DeliveryError
from notifiers.http_failure import exchange_error


def reach(who: str, url: str, *, timeout: timedelta) -> str:
    """Ask the host of a URL for its front page and answer how: "hooks.slack.com answers (200)".

    The path of the URL, which may be a secret or do something, is not used. Raises DeliveryError.
    """
    import requests

    parts = urlsplit(url)
    host = parts.hostname or ""
    front = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    try:
        with requests.get(front, timeout=timeout.total_seconds(), allow_redirects=False, stream=True) as response:
            return f"{host} answers ({response.status_code}){_way(front)}"
    except (OSError, requests.RequestException) as error:
        raise _error(who, error, front) from None


def _error(who: str, error: Exception, front: str) -> DeliveryError:
    found = exchange_error(who, error, handed_over=False)
    hint = "\n".join(filter(None, (found.hint, f"curl -sSI {front}   (from this host)")))
    return DeliveryError(found.reason, detail=f"{found.detail}{_way(front)}", hint=hint)


def _way(url: str) -> str:
    """Name the proxy that stands in between, if there is one, without its login."""
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url, no_proxy=None))
    if not proxy:
        return ""
    parts = urlsplit(proxy)
    return f" through the proxy {parts.hostname}:{parts.port}" if parts.hostname else " through a proxy"
