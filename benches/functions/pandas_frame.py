import numpy
import pandas

FRAME = pandas.DataFrame({"n": numpy.arange(1000)})


def handler(event, context):
    return {"hello": "world"} if int(FRAME["n"].sum()) == 499500 else None
