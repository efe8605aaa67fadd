package test;

import com.amazonaws.services.lambda.runtime.events.*;
import com.amazonaws.services.lambda.runtime.events.models.dynamodb.AttributeValue;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPInputStream;

/** A handler per class of aws-lambda-java-events: what it read, as text. */
public class Events {
    private static List<Object> of(Object... values) {
        Object[] texts = new Object[values.length];
        for (int i = 0; i < values.length; i++) {
            Object value = values[i];
            texts[i] = value instanceof ByteBuffer ? text((ByteBuffer) value) : value instanceof Date ? ((Date) value).toInstant().toString() : String.valueOf(value);
        }
        return List.of(texts);
    }

    private static String text(ByteBuffer bytes) {
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        return Base64.getEncoder().encodeToString(copy);
    }

    public Object sqs(SQSEvent in) {
        SQSEvent.SQSMessage message = in.getRecords().get(0);
        SQSEvent.MessageAttribute bytes = message.getMessageAttributes().get("bytes");
        return of(in.getRecords().size(), message.getBody(), message.getEventSourceArn(), message.getAttributes().get("SenderId"),
            message.getMessageAttributes().get("word").getStringValue(), bytes.getDataType(), bytes.getBinaryValue(), bytes.getBinaryListValues().get(0));
    }

    public Object sns(SNSEvent in) {
        SNSEvent.SNSRecord first = in.getRecords().get(0);
        SNSEvent.SNS sns = first.getSNS();
        return of(in.getRecords().size(), first.getEventSource(), sns.getMessage(), sns.getTimestamp(), sns.getSigningCertUrl(), sns.getMessageAttributes().get("Test").getValue());
    }

    public Object s3(S3Event in) {
        var first = in.getRecords().get(0);
        return of(in.getRecords().size(), first.getEventName(), first.getEventTime(), first.getUserIdentity().getPrincipalId(), first.getRequestParameters().getSourceIPAddress(),
            first.getResponseElements().getxAmzRequestId(), first.getS3().getBucket().getName(), first.getS3().getBucket().getOwnerIdentity().getPrincipalId(),
            first.getS3().getObject().getUrlDecodedKey(), first.getS3().getObject().getSizeAsLong(), first.getS3().getObject().getVersionId(), first.getS3().getS3SchemaVersion());
    }

    public Object kinesis(KinesisEvent in) {
        KinesisEvent.KinesisEventRecord first = in.getRecords().get(0);
        String data = StandardCharsets.UTF_8.decode(first.getKinesis().getData().duplicate()).toString();
        return of(in.getRecords().size(), first.getEventID(), data, first.getKinesis().getApproximateArrivalTimestamp(), first.getKinesis().getEncryptionType());
    }

    public Object dynamodb(DynamodbEvent in) {
        DynamodbEvent.DynamodbStreamRecord first = in.getRecords().get(0);
        Map<String, AttributeValue> image = first.getDynamodb().getNewImage();
        return of(in.getRecords().size(), first.getEventID(), first.getEventName(), first.getDynamodb().getApproximateCreationDateTime(), first.getDynamodb().getKeys().get("Id").getN(),
            image.get("Message").getS(), image.get("Bytes").getB(), image.get("Words").getSS(), image.get("Parts").getBS().get(0),
            image.get("Nested").getM().get("list").getL().get(0).getBOOL(), first.getDynamodb().getOldImage().get("Message").getS(), first.getDynamodb().getSizeBytes());
    }

    public Object gateway(APIGatewayProxyRequestEvent in) {
        return of(in.getHttpMethod(), in.getHeaders().get("Accept"), in.getMultiValueHeaders().get("Accept"), in.getQueryStringParameters(), in.getIsBase64Encoded(),
            in.getRequestContext().getIdentity().getSourceIp(), in.getRequestContext().getAuthorizer().get("principalId"), in.getRequestContext().getRequestTimeEpoch(), in.getStageVariables());
    }

    public Object http(APIGatewayV2HTTPEvent in) {
        return of(in.getVersion(), in.getRawQueryString(), in.getCookies(), in.getRequestContext().getHttp().getMethod(), in.getRequestContext().getTimeEpoch(),
            in.getRequestContext().getAuthorizer().getJwt().getClaims(), in.getIsBase64Encoded(), in.getPathParameters());
    }

    public Object balancer(ApplicationLoadBalancerRequestEvent in) {
        return of(in.getPath(), in.getRequestContext().getElb().getTargetGroupArn(), in.getQueryStringParameters());
    }

    public Object scheduled(ScheduledEvent in) {
        return of(in.getDetailType(), in.getTime(), in.getResources(), in.getDetail());
    }

    public Object logs(CloudWatchLogsEvent in) throws IOException {
        byte[] packed = Base64.getDecoder().decode(in.getAwsLogs().getData());
        return new String(new GZIPInputStream(new ByteArrayInputStream(packed)).readAllBytes(), StandardCharsets.UTF_8);
    }

    public CognitoUserPoolPostConfirmationEvent cognito(CognitoUserPoolPostConfirmationEvent in) {
        in.getRequest().getUserAttributes().put("seen", in.getTriggerSource() + " " + in.getCallerContext().getClientId());
        return in;
    }

    public KinesisAnalyticsInputPreprocessingResponse firehose(KinesisFirehoseEvent in) {
        KinesisFirehoseEvent.Record first = in.getRecords().get(0);
        String upper = StandardCharsets.UTF_8.decode(first.getData().duplicate()).toString().toUpperCase();
        var record = new KinesisAnalyticsInputPreprocessingResponse.Record(first.getRecordId(), KinesisAnalyticsInputPreprocessingResponse.Result.Ok, ByteBuffer.wrap(upper.getBytes(StandardCharsets.UTF_8)));
        return new KinesisAnalyticsInputPreprocessingResponse(List.of(record));
    }

    public APIGatewayV2HTTPResponse answer(APIGatewayV2HTTPEvent in) {
        return APIGatewayV2HTTPResponse.builder().withStatusCode(201).withHeaders(Map.of("a", "b")).withCookies(List.of("c=d")).withBody("text").build();
    }

    public APIGatewayProxyResponseEvent proxied(APIGatewayProxyRequestEvent in) {
        return new APIGatewayProxyResponseEvent().withStatusCode(200).withBody("text").withIsBase64Encoded(false);
    }

    public SQSBatchResponse failures(SQSEvent in) {
        return new SQSBatchResponse(List.of(new SQSBatchResponse.BatchItemFailure(in.getRecords().get(0).getMessageId())));
    }
}
