export function of(context) {
  return { id: context.awsRequestId };
}
