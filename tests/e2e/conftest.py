"""The tests of the stack use the client that is made from the API document, which has to be there to be imported."""

from deploy.gateway import client

client.make()
