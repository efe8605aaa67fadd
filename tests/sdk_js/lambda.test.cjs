// The AWS SDK for JavaScript v3, unmodified, against the running binary.
// Run by tests/sdk_js_test.py, which starts the server and hands its environment over; packages come
// from NODE_PATH, since the clone holds none.
'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { LambdaClient, waitUntilFunctionActiveV2, waitUntilFunctionUpdatedV2, paginateListFunctions,
  ...lambda } = require('@aws-sdk/client-lambda');
const { CloudWatchLogsClient, FilterLogEventsCommand } = require('@aws-sdk/client-cloudwatch-logs');
const { STSClient, GetCallerIdentityCommand } = require('@aws-sdk/client-sts');

const client = new LambdaClient({ maxAttempts: 1 });
const packages = JSON.parse(process.env.TEST_PACKAGES);
const zip = (name) => Buffer.from(packages[name], 'base64');
const waiting = { client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 };
const text = (bytes) => Buffer.from(bytes).toString();
let count = 0;

async function create(name, fields = {}) {
  const FunctionName = `js-${++count}`;
  await client.send(new lambda.CreateFunctionCommand({
    FunctionName, Runtime: process.env.TEST_RUNTIME, Handler: 'index.handler',
    Role: process.env.TEST_ROLE, Code: { ZipFile: zip(name) }, ...fields }));
  await waitUntilFunctionActiveV2(waiting, { FunctionName });
  return FunctionName;
}

async function fails(command, name, status) {
  await assert.rejects(client.send(command), (error) => {
    assert.equal(error.name, name);
    assert.equal(error.$metadata.httpStatusCode, status);
    assert.ok(error.$metadata.requestId);
    return true;
  });
}

test('the caller is the root of its account', async () => {
  const identity = await new STSClient({ maxAttempts: 1 }).send(new GetCallerIdentityCommand({}));
  assert.equal(identity.Arn, `arn:aws:iam::${identity.Account}:root`);
});

test('a function answers with its event', async () => {
  const FunctionName = await create('echo');
  const answer = await client.send(new lambda.InvokeCommand({ FunctionName, Payload: '{"a":[1,"ü"]}' }));
  assert.equal(answer.StatusCode, 200);
  assert.equal(answer.ExecutedVersion, '$LATEST');
  assert.equal(answer.FunctionError, undefined);
  assert.deepEqual(JSON.parse(text(answer.Payload)), { a: [1, 'ü'] });
});

test('an error of the function is an answer', async () => {
  const FunctionName = await create('fail');
  const answer = await client.send(new lambda.InvokeCommand({ FunctionName, LogType: 'Tail' }));
  assert.equal(answer.FunctionError, 'Unhandled');
  assert.equal(JSON.parse(text(answer.Payload)).errorMessage, 'it broke');
  assert.match(Buffer.from(answer.LogResult, 'base64').toString(), /REPORT RequestId/);
});

test('errors have the names and statuses of the model', async () => {
  await fails(new lambda.GetFunctionCommand({ FunctionName: 'nope' }), 'ResourceNotFoundException', 404);
  await fails(new lambda.InvokeCommand({ FunctionName: 'nope' }), 'ResourceNotFoundException', 404);
  const FunctionName = await create('echo');
  await fails(new lambda.InvokeCommand({ FunctionName, Payload: '{no' }), 'InvalidRequestContentException', 400);
  await fails(new lambda.CreateFunctionCommand({
    FunctionName, Runtime: process.env.TEST_RUNTIME, Handler: 'index.handler',
    Role: process.env.TEST_ROLE, Code: { ZipFile: zip('echo') } }), 'ResourceConflictException', 409);
});

test('a throttled call has its reason and is told when to come again', async () => {
  const FunctionName = await create('echo');
  await client.send(new lambda.PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions: 0 }));
  await assert.rejects(client.send(new lambda.InvokeCommand({ FunctionName })), (error) => {
    assert.equal(error.name, 'TooManyRequestsException');
    assert.equal(error.Reason, 'ReservedFunctionConcurrentInvocationLimitExceeded');
    return true;
  });
});

test('an update runs next, a version stays', async () => {
  const FunctionName = await create('echo');
  const version = await client.send(new lambda.PublishVersionCommand({ FunctionName }));
  await client.send(new lambda.UpdateFunctionCodeCommand({ FunctionName, ZipFile: zip('fail') }));
  await waitUntilFunctionUpdatedV2(waiting, { FunctionName });
  const head = await client.send(new lambda.InvokeCommand({ FunctionName }));
  assert.equal(head.FunctionError, 'Unhandled');
  const old = await client.send(new lambda.InvokeCommand({ FunctionName, Qualifier: version.Version, Payload: '7' }));
  assert.equal(text(old.Payload), '7');
});

test('pages hold every function once', async () => {
  await create('echo');
  const names = [];
  for await (const page of paginateListFunctions({ client, pageSize: 1 }, {})) {
    names.push(...page.Functions.map((f) => f.FunctionName));
  }
  assert.equal(names.length, new Set(names).size);
  assert.ok(names.length >= 2);
});

test('a function URL serves fetch', async () => {
  const FunctionName = await create('page');
  const { FunctionUrl } = await client.send(new lambda.CreateFunctionUrlConfigCommand({ FunctionName, AuthType: 'NONE' }));
  await client.send(new lambda.AddPermissionCommand({
    FunctionName, StatementId: 'url', Action: 'lambda:InvokeFunctionUrl', Principal: '*', FunctionUrlAuthType: 'NONE' }));
  await client.send(new lambda.AddPermissionCommand({
    FunctionName, StatementId: 'invoke', Action: 'lambda:InvokeFunction', Principal: '*', InvokedViaFunctionUrl: true }));
  const id = new URL(FunctionUrl).host.split('.')[0];
  const reply = await fetch(`${process.env.AWS_ENDPOINT_URL}/_freehold/url/${id}/a?b=c`);
  assert.equal(reply.status, 201);
  assert.equal(reply.headers.get('x-mine'), 'yes');
  assert.equal(await reply.text(), '/a?b=c');
});

test('logs are found by the request id', async () => {
  const FunctionName = await create('echo');
  const answer = await client.send(new lambda.InvokeCommand({ FunctionName }));
  const { events } = await new CloudWatchLogsClient({ maxAttempts: 1 }).send(new FilterLogEventsCommand({
    logGroupName: `/aws/lambda/${FunctionName}`, filterPattern: `"${answer.$metadata.requestId}"` }));
  assert.ok(events.some((e) => e.message.startsWith('START RequestId')));
  assert.ok(events.some((e) => e.message.startsWith('REPORT RequestId')));
});

test('an asynchronous call is accepted', async () => {
  const FunctionName = await create('echo');
  const answer = await client.send(new lambda.InvokeCommand({ FunctionName, InvocationType: 'Event', Payload: '1' }));
  assert.equal(answer.StatusCode, 202);
  // The SDK gives null or no bytes for an empty body, by its version.
  assert.equal(answer.Payload?.length ?? 0, 0);
});
