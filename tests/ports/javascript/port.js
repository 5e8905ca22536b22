// The line protocol of the conformance runner: a fixture's header, then its inputs, one JSON object per line and one
// answer for each.
//
//     node port.js [machine.json]

import { Connection } from './connection.js';
import { actionJson, audioBytes, camel, messageText, readError, valueJson } from './dialogue.js';
import { SttError } from './errors.js';
import { Options } from './options.js';
import { roles } from './spec.js';
import { parse, stringify } from './wirejson.js';

const { looks: LOOKS, states: STATES } = roles.client;

let connection = null;

function open({ role, options = {}, limits, retry, random, endpointer }) {
  if (role !== 'client') return { unsupported: `this port is a client, not a ${role}` };
  connection = new Connection(new Options(options), {
    limits,
    retry,
    random: random && drawing(random),
    endpointer: endpointer && endingAt(endpointer),
  });
  return { ready: true };
}

function drawing(numbers) {
  const left = [...numbers];
  return () => {
    if (!left.length) throw new Error('the core asked for more random numbers than the header lists');
    return left.shift();
  };
}

/** An endpointer that was told where speech ends. */
function endingAt(ends) {
  let position = 0;
  return {
    push(frame) {
      position += frame.length / 2;
      return ends.includes(position);
    },
  };
}

function play(step) {
  try {
    input(step);
  } catch (error) {
    if (error instanceof SttError) return { raises: error.name };
    throw error;
  }
  const actions = take(step).map(actionJson);
  const events = connection.takeEvents().map((event) => valueJson(event));
  return {
    actions,
    events,
    ...lookAt([...STATES, 'speaking', 'finished']),
    looks: lookAt(LOOKS),
  };
}

function input({ at, call, args = {}, text, binary, audio }) {
  if (text !== undefined) connection.receiveText(messageText(text), at);
  else if (binary !== undefined) connection.receiveBinary(audioBytes(binary), at);
  else if (audio !== undefined) connection.sendAudio(audioBytes(audio), at);
  else if (call === 'update_options') connection.updateOptions(given(args), at);
  else if (call === 'transport_closed') connection.transportClosed(closing(given(args)), at);
  else if (call !== undefined) connection[camel(call)](at);
}

/** Arguments without those that are null, which is absent. */
const given = (args) => Object.fromEntries(Object.entries(args).filter(([, value]) => value !== null));

const closing = ({ code, http_status: httpStatus, retry_after: retryAfter, error }) => ({
  code,
  httpStatus,
  retryAfter,
  error: error && readError(error),
});

function take({ at, take: maxMessages }) {
  if (maxMessages !== undefined) return connection.takeActions(at, maxMessages);
  const actions = [];
  for (let batch; (batch = connection.takeActions(at)).length; ) actions.push(...batch);
  return actions;
}

const lookAt = (names) => Object.fromEntries(names.map((name) => [name, valueJson(connection[camel(name)])]));

/** Lines end with LF alone: JSON may hold other separators of lines, at which `node:readline` would cut. */
async function* linesOf(stream) {
  let rest = '';
  for await (const part of stream.setEncoding('utf8')) {
    const lines = (rest + part).split('\n');
    rest = lines.pop();
    yield* lines;
  }
}

for await (const line of linesOf(process.stdin)) {
  const value = parse(line);
  process.stdout.write(`${stringify(value.fixture === undefined ? play(value) : open(value))}\n`);
}
