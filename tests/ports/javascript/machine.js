// Rows, and the one place that assigns a state.

/** The table says nothing about this trigger in this state. */
export class MissingRow extends Error {
  constructor(table, state, trigger) {
    super(`${trigger} is not possible while the ${table} is ${state}`);
  }
}

/** One run through a table of the specification. */
export class Machine {
  #name;
  #index;

  constructor(name, table) {
    this.#name = name;
    this.#index = new Map(table.rows.map((row) => [`${row.state} ${row.trigger}`, row]));
    this.state = table.initial;
  }

  /** Whether `step` would find a row. */
  allows(trigger) {
    return this.#index.has(`${this.state} ${trigger}`);
  }

  /** Moves along the row for `trigger` and returns its effects, to be carried out in order. */
  step(trigger) {
    const row = this.#index.get(`${this.state} ${trigger}`);
    if (row === undefined) throw new MissingRow(this.#name, this.state, trigger);
    this.state = row.next;
    return row.effects;
  }
}
