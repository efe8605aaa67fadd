'use strict';

class Part {
  static of(context) {
    return { id: context.awsRequestId, left: context.getRemainingTimeInMillis() < 0 };
  }
}

module.exports = Part;
