"""The REST API: one NinjaAPI, bearer only."""

from ninja import NinjaAPI

api = NinjaAPI(title="Guesthouse", version="1", urls_namespace="api")
