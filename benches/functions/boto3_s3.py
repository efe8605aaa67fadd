import boto3

S3 = boto3.client("s3")


def handler(event, context):
    return {"hello": "world"}
