"""Imports every module of two clients that openapi-python-client has generated, and asks a hub by one of them.

Arguments: the hub's address, its key.
"""

import importlib
import pkgutil
import sys

url, key = sys.argv[1:]
for name in ["outrider_hub_client", "outrider_agent_client"]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)

from outrider_hub_client import AuthenticatedClient
from outrider_hub_client.api.hugging_face import post_hf_models_model as ask
from outrider_hub_client.api.keys import post_api_v1_keys as make_key
from outrider_hub_client.api.models import get_api_v1_models as list_models
from outrider_hub_client.models.post_api_v1_keys_body import PostApiV1KeysBody
from outrider_hub_client.models.post_hf_models_model_json_body import PostHfModelsModelJsonBody

client = AuthenticatedClient(base_url=url, token=key)
assert [one.name for one in list_models.sync(client=client).models] == ["org/pictures", "texts"]
body = PostHfModelsModelJsonBody.from_dict({"inputs": "a fine film"})
answer = ask.sync_detailed("texts", client=client, body=body)
assert answer.status_code == 200 and b"cat" in answer.content, answer
wanted = PostApiV1KeysBody.from_dict({"name": "mine", "scopes": ["infer"]})
made = [make_key.sync(client=client, body=wanted, idempotency_key="once").key for _ in range(2)]
assert made[0] == made[1], made
print("all well")
