package test;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.ContainerCredentialsProvider;
import software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.services.sts.StsClient;
import software.amazon.awssdk.services.sts.model.GetCallerIdentityResponse;

/** Who the SDK takes itself for, and with which keys. */
public class Asks {
    public static class Default extends Asks {
        public Default() {
            super(DefaultCredentialsProvider.create());
        }
    }

    /** Where the environment has keys, which the SDK takes first. */
    public static class Container extends Asks {
        public Container() {
            super(ContainerCredentialsProvider.create());
        }
    }

    private final AwsCredentialsProvider provider;
    private final StsClient sts;
    private final String ofInit;

    Asks(AwsCredentialsProvider provider) {
        this.provider = provider;
        sts = StsClient.builder()
                .credentialsProvider(provider)
                .httpClient(UrlConnectionHttpClient.create())
                .build();
        ofInit = sts.getCallerIdentity().arn();
    }

    public Map<String, Object> handle(Object event) {
        GetCallerIdentityResponse found = sts.getCallerIdentity();
        AwsCredentials keys = provider.resolveCredentials();
        return Map.of(
                "account", found.account(),
                "arn", found.arn(),
                "arnOfInit", ofInit,
                "key", keys.accessKeyId(),
                "from", keys.providerName().orElse(""),
                "variables", Stream.of("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
                        .filter(name -> System.getenv(name) != null)
                        .toList());
    }

    /** Takes the keys twice from where the environment says, outside of any platform. */
    public static void main(String[] args) {
        AwsCredentialsProvider provider = ContainerCredentialsProvider.create();
        List<String> taken = new ArrayList<>();
        for (int n = 0; n < 2; n++) {
            taken.add(provider.resolveCredentials().accessKeyId());
        }
        System.out.println(String.join(" ", taken));
    }
}
