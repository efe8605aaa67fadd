const { S3Client } = require("@aws-sdk/client-s3");

const client = new S3Client({ region: "us-east-1" });
exports.handler = async () => ({ hello: "world", client: typeof client.send });
