"""`/v1`: who may call what, and what answers it."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Handler as Answering

from gateway.core.notice import Sender
from gateway.http import openapi, routes
from gateway.http.auth import Gatekeeper
from gateway.http.callbacks import Callbacks
from gateway.http.doors import Doors
from gateway.http.lookups import Lookups
from gateway.http.messages import Messages
from gateway.http.overviews import Overviews
from gateway.http.pause_requests import PauseRequestDoor
from gateway.http.problems import as_json
from gateway.http.repeats import RepeatDoor
from gateway.http.routes import PREFIX, Route, query_of

ForSender = Callable[[Sender, Mapping[str, str], web.Request], Awaitable[web.Response]]


class Api:
    """Raises SettingsRefused, SecretMissing."""

    def __init__(self, doors: Doors) -> None:
        self._gatekeeper = Gatekeeper(doors)
        self._messages = Messages(doors.intake)
        self._lookups = Lookups(doors)
        self._overviews = Overviews(doors)
        self._requests = PauseRequestDoor(doors)
        self._repeats = RepeatDoor(doors)
        self._callbacks = Callbacks(doors)
        self._document = openapi.document(doors.settings.public_url)

    def add_to(self, app: web.Application) -> None:
        answers: Mapping[str, Answering] = {
            routes.POST_MESSAGE.operation: self._for_senders(routes.POST_MESSAGE, self._messages.take),
            routes.LIST_DOSSIERS.operation: self._for_senders(routes.LIST_DOSSIERS, self._lookups.dossiers),
            routes.GET_DOSSIER.operation: self._for_senders(routes.GET_DOSSIER, self._lookups.dossier),
            routes.GET_DELIVERY.operation: self._for_senders(routes.GET_DELIVERY, self._lookups.delivery),
            routes.POST_REPEAT.operation: self._for_senders(routes.POST_REPEAT, self._repeats.take),
            routes.GET_FEED.operation: self._for_senders(routes.GET_FEED, self._lookups.feed),
            routes.LIST_PAUSE_REQUESTS.operation: self._for_senders(routes.LIST_PAUSE_REQUESTS, self._requests.listed),
            routes.GET_PAUSE_REQUEST.operation: self._for_senders(routes.GET_PAUSE_REQUEST, self._requests.one),
            routes.POST_PAUSE_REQUEST_HANDLED.operation: self._for_senders(
                routes.POST_PAUSE_REQUEST_HANDLED, self._requests.handle
            ),
            routes.LIST_CREDITORS.operation: self._for_senders(routes.LIST_CREDITORS, self._lookups.creditors),
            routes.CREDITOR_OVERVIEW.operation: self._for_senders(routes.CREDITOR_OVERVIEW, self._overviews.creditors),
            routes.GEMEENTE_OVERVIEW.operation: self._for_senders(routes.GEMEENTE_OVERVIEW, self._overviews.gemeenten),
            routes.POST_ANSWER.operation: self._callbacks.take,
            routes.GET_OPENAPI.operation: self._openapi,
        }
        for route in routes.ROUTES:
            add = app.router.add_get if route.method == "GET" else app.router.add_post
            add(PREFIX + route.path, answers[route.operation])

    def _for_senders(self, route: Route, answer: ForSender) -> Answering:
        async def answering(request: web.Request) -> web.StreamResponse:
            sender = self._gatekeeper.sender_of(request)
            return await answer(sender, query_of(route, request), request)

        return answering

    async def _openapi(self, request: web.Request) -> web.Response:
        """For anybody, and for pages elsewhere that show it (NL API Design Rules, /core/doc-openapi)."""
        query_of(routes.GET_OPENAPI, request)
        response = as_json(self._document)
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response
