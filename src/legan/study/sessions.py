"""Signed cookies and form tokens (itsdangerous). A cookie holds a random session name; nothing in it tells who the rater is.

Its own name ends in the study's tag, as browsers keep one set of cookies for all ports of a host.
"""

from dataclasses import dataclass
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from legan.study.keys import Keys

RATER, VISIT, ADMIN = "legan-rater", "legan-visit", "legan-admin"
ADMIN_HOURS, VISIT_HOURS = 8.0, 2.0


@dataclass(frozen=True)
class Sessions:
    """Signs and reads cookies.

    Args:
        keys: of the study.
        tag: of the study.
        hours: that a rater's session lasts.
        secure: whether the pages come over HTTPS, so that cookies must too.
    """

    keys: Keys
    tag: str
    hours: float
    secure: bool

    def set(self, response: Response, name: str, value: Any) -> None:
        """Set a signed cookie."""
        age = int(3600 * self._hours(name))
        response.set_cookie(
            self._full(self._own(name)),
            self._signer(self._own(name)).dumps(value),
            max_age=age,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite="lax",
        )

    def get(self, request: Request, name: str) -> Any:
        """Value of a cookie; None if there is none, or it is forged, changed, or out of date."""
        own = self._own(name)
        try:
            return self._signer(own).loads(request.cookies.get(self._full(own), ""), int(3600 * self._hours(name)))
        except BadData:
            return None

    def drop(self, response: Response, name: str) -> None:
        """Remove a cookie."""
        response.delete_cookie(self._full(self._own(name)), path="/", secure=self.secure, httponly=True, samesite="lax")

    def form_token(self, session: str) -> str:
        """What a form must carry, so that no other site can send it."""
        return self.keys.digest("form", session)

    def is_form_token(self, token: str, session: str) -> bool:
        """Whether a form's token belongs to the session."""
        return self.keys.are_equal(token, self.form_token(session))

    def _own(self, name: str) -> str:
        return f"{name}-{self.tag}"

    def _full(self, name: str) -> str:
        return f"__Host-{name}" if self.secure else name  # browsers then refuse it from other hosts and without TLS

    def _hours(self, name: str) -> float:
        return {RATER: self.hours, VISIT: VISIT_HOURS, ADMIN: ADMIN_HOURS}[name]

    def _signer(self, name: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.keys.session_key, salt=name)
