"""Logging in, second factors and API tokens, as the fake API has them."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web
from fake_world import PASSWORD, WORLD, Json, data, refuse


async def ticket(request: web.Request) -> web.Response:
    form = await request.post()
    world = request.app[WORLD]
    password, user = str(form["password"]), str(form["username"])
    if "tfa-challenge" in form:
        if password not in ("totp:123456", "recovery:aaaa-bbbb"):
            return refuse(401, "authentication failure")
        password = PASSWORD
    elif world.factors and password == PASSWORD:
        asked = quote('{"totp":true,"recovery":"low"}', safe="")
        challenge = {"ticket": f"PVE:!tfa!{asked}:5F000000::c2ln", "CSRFPreventionToken": "", "NeedTFA": 1}
        return data({**challenge, "username": user})
    if world.expired or not (password == PASSWORD or password.startswith("PVE:")):
        return refuse(401, "authentication failure")
    answer = {"ticket": f"PVE:{user}:5F000000::c2ln/+==", "CSRFPreventionToken": "5F000000:token"}
    return data({**answer, "username": user, "clustername": "home"})


async def domains(request: web.Request) -> web.Response:
    pam = {"realm": "pam", "type": "pam", "comment": "Linux PAM", "default": 1}
    return data([pam, {"realm": "pve", "type": "pve", "comment": "Kvorum"}])


async def factors(request: web.Request) -> web.Response:
    return data(request.app[WORLD].factors)


async def add_factor(request: web.Request) -> web.Response:
    form, world = await request.post(), request.app[WORLD]
    shown: Json = {"id": "recovery", "type": "recovery", "description": "", "created": 1_700_000_000}
    if form["type"] == "recovery":
        world.factors.append(shown)
        return data({"id": "recovery", "recovery": ["aaaa-bbbb", "cccc-dddd"]})
    if form["value"] != "123456":
        return refuse(400, "Parameter verification failed.", value="is not the generator's present password")
    world.factors.append(shown | {"id": "f1", "type": "totp", "description": str(form["description"])})
    return data({"id": "f1"})


async def remove_factor(request: web.Request) -> web.Response:
    world = request.app[WORLD]
    world.factors = [each for each in world.factors if each["id"] != request.match_info["id"]]
    return data(None)


async def tokens(request: web.Request) -> web.Response:
    return data([{"tokenid": name, **token} for name, token in request.app[WORLD].tokens.items()])


async def add_token(request: web.Request) -> web.Response:
    form, name = await request.post(), request.match_info["token"]
    token = {"privsep": int(str(form["privsep"])), "comment": str(form.get("comment", ""))}
    request.app[WORLD].tokens[name] = token
    return data({"full-tokenid": f"{request.match_info['user']}!{name}", "value": "5ec2e7", "info": {}})


async def remove_token(request: web.Request) -> web.Response:
    del request.app[WORLD].tokens[request.match_info["token"]]
    return data(None)


async def set_password(request: web.Request) -> web.Response:
    if (await request.post())["confirmation-password"] != PASSWORD:
        return refuse(401, "authentication failure")
    return data(None)
