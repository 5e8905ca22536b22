// What can go wrong, and what it means for the next attempt. The texts here name no server's words: those of a real
// client would, masked and cut.

import { errors, failures } from './spec.js';

/** Every error of this port; `name` is one of the specification's. */
export class SttError extends Error {
  constructor(name, message, facts = {}) {
    super(message);
    this.name = name;
    this.phase = facts.phase ?? '';
    this.closeCode = facts.closeCode ?? null;
    this.httpStatus = facts.httpStatus ?? null;
    this.sessionId = facts.sessionId ?? null;
    this.retryAfter = facts.retryAfter ?? null;
    this.code = name === 'GatewayError' ? facts.code ?? -1 : null;
    this.retryable = facts.retryable ?? errors[name].retryable;
  }

  /** Whether this is an error of that name or of one derived from it. */
  isA(name) {
    for (let each = this.name; each !== null; each = errors[each].base) if (each === name) return true;
    return false;
  }
}

/** The caller asked for something that cannot be; nothing was changed. */
export const localError = (message, phase) => new SttError('LocalProtocolError', message, { phase });

const rowOf = (source, number) =>
  failures.find(
    (row) => row.source === source && number >= (row.first ?? -Infinity) && number <= (row.last ?? Infinity),
  );

/** The error for an HTTP answer that was no WebSocket; `retryAfter` in seconds. */
export function httpFailure(httpStatus, retryAfter) {
  const { error, retryable } = rowOf('http', httpStatus);
  return new SttError(error, `the server answered with HTTP ${httpStatus}`, {
    phase: 'connect',
    httpStatus,
    retryAfter,
    retryable,
  });
}

/** The error for an `error` message; `code` is -1 when it had none. */
export function gatewayFailure(code, sessionId) {
  const { error, retryable } = rowOf('gateway', code);
  return new SttError(error, `the gateway sent error ${code}`, { phase: 'session', code, sessionId, retryable });
}

/** The error for a WebSocket that closed. */
export function lost(closeCode, sessionId) {
  return new SttError('ConnectionLost', `the connection was lost (close code ${closeCode})`, {
    phase: 'session',
    closeCode,
    sessionId,
  });
}

/** The error for a transport that did not open. */
export const dialFailure = () => new SttError('ConnectError', 'could not connect', { phase: 'connect' });

/** What a failure means for the next attempt: `permanent`, `unauthorized` or `transient`. */
export function verdict(error) {
  if (errors[error.name].permanent) return 'permanent';
  if ((error.isA('AuthError') && error.httpStatus === 401) || error.code === 401) return 'unauthorized';
  return error.retryable ? 'transient' : 'permanent';
}
