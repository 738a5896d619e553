"""Signing in: OAuth2's password flow. `POST /token` takes a name and a password and gives a token, signed, for a while.

Tokens are kept nowhere: whoever has the key can check them. The password is checked in a thread, one at a time: that
takes a core for 30 ms, which predictions need as well.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import anyio
import jwt
from anyio import to_thread
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from pydantic import BaseModel, Field

from web.limits import Rate
from web.settings import ServerSettings
from web.users import Users

__all__ = ["Auth", "Token"]

ALGORITHM = "HS256"
CLAIMS = ["exp", "iat", "sub"]
# Logins, of one client: to check a password takes the time of a hundred predictions.
LOGINS_PER_SECOND, LOGINS_AT_ONCE = 10 / 60, 10
# Logins that wait for the one that is checked: less than a second.
MOST_WAITING = 20
SCHEME = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)


class Token(BaseModel):
    """What signs requests: `Authorization: Bearer <access_token>`."""

    access_token: str
    token_type: str = Field(default="bearer", examples=["bearer"])
    expires_in: int = Field(description="Seconds that it is good for.", examples=[1800])


class Auth:
    """Who asks.

    Args:
        users: Who there is.
        key: What tokens are signed with; empty for a random one.
        minutes: How long a token is good for.
        realm: What it is that asks for a token.
        limit: Whether a client, by its address, may try to sign in now: 0, or the seconds until it may.

    Attributes:
        router: `POST /token`.
    """

    def __init__(self, users: Users, key: str, minutes: int, *, realm: str, limit: Callable[[str], float]) -> None:
        self._users, self._realm, self._limit = users, realm, limit
        self._key = key or secrets.token_hex(32)
        self._life = timedelta(minutes=minutes)
        self._turns, self._trying = anyio.CapacityLimiter(1), 0
        self.router = APIRouter(tags=["signing in"])
        self.router.post("/token", summary="Sign in")(self.sign_in)

    @classmethod
    def read(cls, settings: ServerSettings, realm: str) -> Auth:
        """Who asks, by the file of users that a server was told of; nobody, where it was told of none.

        Raises:
            SettingError: The file cannot be used.
        """
        users = Users.read(settings.users_file, f"{settings.prefix}_USERS_FILE") if settings.users_file else Users()
        logins = Rate(LOGINS_PER_SECOND, LOGINS_AT_ONCE)
        return cls(users, settings.token_key, settings.token_minutes, realm=realm, limit=logins.wait)

    async def user(self, token: Annotated[str | None, Depends(SCHEME)]) -> str:
        """The name of who asks: a dependency of routes.

        Raises:
            HTTPException: 401, where there is no token, or one that is not ours, or not any more.
        """
        if token is None:
            raise self._unauthorized("This needs a token: POST /token gives one for a name and a password.")
        invalid = ', error="invalid_token"'
        try:
            name = jwt.decode(token, self._key, [ALGORITHM], options={"require": CLAIMS})["sub"]
        except jwt.ExpiredSignatureError:
            raise self._unauthorized("The token has expired: POST /token gives another one.", invalid) from None
        except jwt.InvalidTokenError:
            raise self._unauthorized("The token is not valid: POST /token gives another one.", invalid) from None
        if name not in self._users:
            raise self._unauthorized("The user of this token is no more.", invalid)
        return str(name)

    def first(self) -> type[APIRoute]:
        """Routes that look at the token before the body: whoever has none learns nothing of what they take."""
        user = self.user

        class SignedRoute(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                answer = super().get_route_handler()

                async def check(request: Request) -> Response:
                    await user(await SCHEME(request))
                    return await answer(request)

                return check

        return SignedRoute

    async def sign_in(
        self, request: Request, response: Response, form: Annotated[OAuth2PasswordRequestForm, Depends()]
    ) -> Token:
        """A token for a name and a password."""
        if wait := self._limit(request.client.host if request.client else ""):
            raise _too_many("Too many tries to sign in", wait)
        if self._trying > MOST_WAITING:
            raise _too_many("Too many people sign in at this moment", 1)
        self._trying += 1
        try:
            matches = self._users.matches
            matched = await to_thread.run_sync(matches, form.username, form.password, limiter=self._turns)
        finally:
            self._trying -= 1
        if not matched:
            raise self._unauthorized("The name or the password is wrong.")
        response.headers["Cache-Control"] = "no-store"
        now = datetime.now(UTC)
        claims = {"sub": form.username, "iat": now, "exp": now + self._life}
        token = jwt.encode(claims, self._key, ALGORITHM)
        return Token(access_token=token, expires_in=int(self._life.total_seconds()))

    def _unauthorized(self, detail: str, more: str = "") -> HTTPException:
        return HTTPException(401, detail, {"WWW-Authenticate": f'Bearer realm="{self._realm}"{more}'})


def _too_many(what: str, wait: float) -> HTTPException:
    after = str(math.ceil(wait))
    return HTTPException(429, f"{what}: try again in {after} s.", {"Retry-After": after})
