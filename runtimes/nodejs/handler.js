// From the text in `_HANDLER` to the function: `file.export`, `dir/file.export`, `file.nested.export`.
// Looks where Lambda's loader looks, in its order: the bare name, .js (as the nearest package.json
// says), .mjs, .cjs, then Node's own resolution (a package, NODE_PATH).
'use strict';

const fs = require('fs');
const path = require('path');
const { HandlerNotFound, MalformedHandlerName, ImportModuleError, UserCodeSyntaxError, MalformedStreamingHandler } = require('./errors.js');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');

async function load(root, handlerText) {
  if (handlerText.includes('..')) {
    throw new MalformedHandlerName(`'${handlerText}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  }
  const base = path.basename(handlerText);
  const folder = handlerText.substring(0, handlerText.indexOf(base));
  const match = base.match(/^([^.]*)\.(.*)$/);
  if (!match) throw new MalformedHandlerName('Bad handler');
  const [, moduleName, exportPath] = match;

  installAwsLambdaGlobal();
  const loaded = await loadModule(root, folder, moduleName);
  const handler = exportPath.split('.').reduce((value, key) => value && value[key], loaded);
  if (!handler) throw new HandlerNotFound(`${handlerText} is undefined or not exported`);
  if (typeof handler !== 'function') throw new HandlerNotFound(`${handlerText} is not a function`);
  const streaming = handler[STREAMING];
  if (streaming && streaming !== 'response') throw new MalformedStreamingHandler('Only response streaming is supported.');
  return handler;
}

async function loadModule(root, folder, moduleName) {
  try {
    const file = path.resolve(root, folder, moduleName);
    if (isFile(file)) return require(file);
    const isModule = isFile(`${file}.js`) && typeIsModule(path.dirname(file));
    if (isFile(`${file}.js`)) return isModule ? await importFile(`${file}.js`) : require(`${file}.js`);
    if (isFile(`${file}.mjs`)) return await importFile(`${file}.mjs`);
    if (isFile(`${file}.cjs`)) return require(`${file}.cjs`);
    return require(require.resolve(moduleName, { paths: [root, path.resolve(root, folder)] }));
  } catch (error) {
    if (error instanceof SyntaxError) throw new UserCodeSyntaxError(error);
    if (error !== null && typeof error === 'object' && error.code === 'MODULE_NOT_FOUND') throw new ImportModuleError(error);
    throw error;
  }
}

function importFile(file) {
  return import(require('url').pathToFileURL(file).href);
}

function isFile(file) {
  const stats = fs.statSync(file, { throwIfNoEntry: false });
  return stats !== undefined && stats.isFile();
}

// Whether the package.json that governs `folder` says `"type": "module"`.
function typeIsModule(folder) {
  for (let at = folder; !at.endsWith('/node_modules'); at = path.dirname(at)) {
    const description = path.join(at, 'package.json');
    if (isFile(description)) {
      try {
        return JSON.parse(fs.readFileSync(description, 'utf8')).type === 'module';
      } catch (error) {
        console.warn(`${description} cannot be read, it will be ignored for ES module detection purposes.`, error);
        return false;
      }
    }
    if (at === '/') return false;
  }
  return false;
}

function installAwsLambdaGlobal() {
  if (/^(1|true)$/.test(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA || '')) return;
  globalThis.awslambda = {
    streamifyResponse(handler, options) {
      handler[STREAMING] = 'response';
      if (options && typeof options.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return handler;
    },
    HttpResponseStream: {
      // The status and headers of an HTTP answer travel ahead of its body, eight NULs between.
      from(stream, prelude) {
        stream.setContentType('application/vnd.awslambda.http-integration-response');
        stream._onBeforeFirstWrite = (write) => {
          write(JSON.stringify(prelude));
          write(Buffer.alloc(8));
        };
        return stream;
      },
    },
  };
}

module.exports = { load };
