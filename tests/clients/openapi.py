"""PyPI openapi-spec-validator and jsonschema: the document is valid, and answers match its schemas."""

import json

import httpx
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from websockets.sync.client import connect

from keys import EVERYTHING, token
from support import HTTP, WAIT_SECONDS_MAX, WS, equal


def resolve(document, value):
    while "$ref" in value:
        target = document
        for name in value["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        value = target
    return value


def check(document, schema, value, what):
    """Fails unless `value` is what `schema`, a part of the document, says."""
    whole = {"components": document["components"], **(schema if schema is not True else {})}
    errors = Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value)
    equal((what, [error.message for error in errors]), (what, []))


def media_types(document):
    """Every media type with its examples, of requests and of answers."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for part in [operation.get("requestBody", {}), *operation["responses"].values()]:
                for name, media in resolve(document, part).get("content", {}).items():
                    yield f"{method} {path} {name}", name, media


def examples_match(document):
    count = 0
    for what, name, media in media_types(document):
        examples = [example["value"] for example in media.get("examples", {}).values()]
        examples += [media["example"]] if "example" in media else []
        for example in examples:
            check(document, media["schema"], example, what)
            count += 1
        assert examples or "json" not in name or "openapi.json" in what, f"{what}: no example"
    assert count > 100, count


def fill(document, path, operation, connection_id):
    query = {}
    for parameter in operation.get("parameters", []):
        parameter = resolve(document, parameter)
        name, example = parameter["name"], parameter.get("example")
        if parameter["in"] == "path":
            value = connection_id if name == "connectionId" else example
            path = path.replace("{" + name + "}", value)
        elif parameter["in"] == "query" and parameter.get("required"):
            query[name] = example
    return httpx.URL(HTTP + path).copy_merge_params(query)


def body_of(document, operation):
    for media in operation.get("requestBody", {}).get("content", {}).values():
        examples = [example["value"] for example in media.get("examples", {}).values()]
        return json.dumps((examples or [media.get("example")])[0])
    return None


def answers_match(document, client):
    """Each operation with and without a credential; each JSON answer by its schema."""
    statuses = set()
    bearer = token("ES512", "backend", EVERYTHING)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if "101" in operation["responses"]:
                continue
            for headers in [
                {"Authorization": f"Bearer {bearer}"},
                {"Authorization": "Bearer x"},
                {"X-API-Key": "x", "Authorization": f"Bearer {bearer}"},
            ]:
                # Some operations close what there is.
                with connect(f"{WS}/apps/demo") as socket:
                    welcome = json.loads(socket.recv(WAIT_SECONDS_MAX))
                    connection_id = welcome["data"]["connection"]["id"]
                    url = fill(document, path, operation, connection_id)
                    content = body_of(document, operation)
                    statuses.add(check_answer(document, client, method, url, headers, content, path))
    assert {200, 400, 401} <= statuses, statuses


def check_answer(document, client, method, url, headers, content, path):
    operation = document["paths"][path][method]
    with client.stream(method.upper(), url, headers=headers, content=content) as response:
        what = f"{method} {url.path} {response.status_code}"
        documented = operation["responses"].get(str(response.status_code))
        assert documented, f"{what} is not documented"
        answers = resolve(document, documented).get("content")
        if answers is None:
            equal((what, response.read()), (what, b""))
            return response.status_code
        media = answers[response.headers["content-type"]]
        if "json" in response.headers["content-type"]:
            check(document, media["schema"], json.loads(response.read()), what)
        return response.status_code


def main():
    with httpx.Client(timeout=WAIT_SECONDS_MAX, trust_env=False) as client:
        document = client.get(f"{HTTP}/openapi.json").json()
        equal([error.message for error in OpenAPIV31SpecValidator(document).iter_errors()], [])
        examples_match(document)
        answers_match(document, client)


main()
