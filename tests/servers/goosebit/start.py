"""Runs gooseBit on 127.0.0.1:PORT until standard input ends: start.py PORT.

All of it is gooseBit's own but one thing. It reads the header of what is uploaded, and knows those of SWUpdate and
RAUC only; here, any other file is taken by the version in its name, IMAGE_VERSION.raw….
"""

import asyncio
import contextvars
import hashlib
import os
import re
import shutil
import sys
import tempfile
import threading

run = tempfile.mkdtemp()
os.chdir(run)
os.environ["GOOSEBIT_DB_URI"] = f"sqlite://{run}/db.sqlite3"
os.environ["GOOSEBIT_ARTIFACTS_DIR"] = f"{run}/artifacts"

import uvicorn
from goosebit import app, updates
from goosebit.api.v1.software import routes
from goosebit.db.config import TORTOISE_CONF
from goosebit.db.models import SoftwareImageFormat
from goosebit.updates import swdesc
from tortoise import Tortoise

named = contextvars.ContextVar("named")
create_software_update = updates.create_software_update
fetch_and_parse = swdesc.parse_remote


async def create(uri, temp_file):
    named.set(uri.rsplit("/", 1)[-1])
    return await create_software_update(uri, temp_file)


async def parse_remote(url):
    # This machine, as its virtual machines see it.
    return await fetch_and_parse(url.replace("//10.0.2.2:", "//127.0.0.1:"))


async def parse_file(file):
    version = re.match(r"[^_]+_([^_]+)(_[^_]+)?\.raw", named.get()).group(1)
    data = await file.read_bytes()
    return {
        "version": version,
        "compatibility": [{"hw_model": "default", "hw_revision": "default"}],
        "size": len(data),
        "hash": hashlib.sha1(data).hexdigest(),
        "image_format": SoftwareImageFormat.SWU,
    }


async def make_tables():
    await Tortoise.init(config=TORTOISE_CONF)
    await Tortoise.generate_schemas()
    await Tortoise.close_connections()


def end_with_input():
    sys.stdin.buffer.read()
    # It has nothing to keep.
    shutil.rmtree(run, ignore_errors=True)
    os._exit(0)


routes.create_software_update = create
swdesc.parse_file = parse_file
swdesc.parse_remote = parse_remote
asyncio.run(make_tables())
threading.Thread(target=end_with_input, daemon=True).start()
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
