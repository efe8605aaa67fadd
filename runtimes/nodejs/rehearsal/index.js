// The function that a Node.js runs before it is anybody's, as a CommonJS package: prints nothing,
// opens nothing, keeps nothing.
'use strict';

const part = require('./part.js');

exports.handler = async (event, context) => ({ ...event, ...part.of(context) });
