"""The tests of the stack use the client that is made from the API document, which has to be there to be imported."""

import importlib

from deploy.gateway import client

client.make()
# Python remembers that the folder was not there when it started.
importlib.invalidate_caches()
