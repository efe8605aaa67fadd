// The same as an ES module.
import { of } from './part.js';
import { join } from 'path';

export const handler = async (event, context) => ({ ...event, ...of(context), path: join('a', 'b') });
