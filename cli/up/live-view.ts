/** The Results of an agent as people watch them: a live table on a terminal, plain lines elsewhere, and totals. */

import { createLogUpdate } from 'log-update';
import { type Answer, isFailure, type Result } from '../../shared/contract/result.ts';
import { topAnswer } from '../../shared/page/text.js';
import { colors } from '../../shared/runtime/colors.ts';
import { forTerminal } from '../../shared/runtime/terminal.ts';
import { table } from '../output.ts';

/** Totals of all Results that have come, counted once per input. */
export class Totals {
  readonly #last = new Map<
    string,
    { readonly pipeline: string; readonly kind: 'edge' | 'cloud' | 'failed'; readonly ms: number }
  >();
  readonly #order: string[] = [];
  readonly #sums = new Map<
    string,
    { edge: number; cloud: number; failed: number; msEdge: number[]; msCloud: number[] }
  >();

  add(result: Result): void {
    const { id, pipeline } = result;
    const before = this.#last.get(id);
    if (before) this.#count(before.pipeline, before.kind, -1);
    else this.#remember(id);
    const kind = isFailure(result) ? 'failed' : result.source;
    const ms = isFailure(result) ? 0 : result.timingsMs.total;
    this.#last.set(id, { pipeline, kind, ms });
    this.#count(pipeline, kind, 1);
    const sums = this.#of(pipeline);
    if (kind !== 'failed') {
      const list = kind === 'edge' ? sums.msEdge : sums.msCloud;
      list.push(ms);
      if (list.length > KEPT_TIMES) list.shift();
    }
  }

  lines(): string[] {
    return [...this.#sums].map(([pipeline, { edge, cloud, failed, msEdge, msCloud }]) => {
      const all = edge + cloud + failed;
      const share = all === 0 ? 0 : (100 * cloud) / all;
      const times = [
        msEdge.length > 0 ? `edge ${median(msEdge).toFixed(1)} ms` : '',
        msCloud.length > 0 ? `cloud ${median(msCloud).toFixed(1)} ms` : '',
      ].filter(Boolean);
      return `${pipeline}: ${all} inputs, ${edge} at the edge, ${cloud} by the cloud (${share.toFixed(0)} %), ${failed} failed; median ${times.join(', ')}`;
    });
  }

  #of(pipeline: string): {
    edge: number;
    cloud: number;
    failed: number;
    msEdge: number[];
    msCloud: number[];
  } {
    const sums = this.#sums.get(pipeline) ?? { edge: 0, cloud: 0, failed: 0, msEdge: [], msCloud: [] };
    this.#sums.set(pipeline, sums);
    return sums;
  }

  #count(pipeline: string, kind: 'edge' | 'cloud' | 'failed', by: number): void {
    this.#of(pipeline)[kind] += by;
  }

  /** A view that runs for days must not grow. */
  #remember(id: string): void {
    this.#order.push(id);
    if (this.#order.length > KEPT_IDS) this.#last.delete(this.#order.shift() ?? '');
  }
}

const KEPT_IDS = 5_000;
const KEPT_TIMES = 1_000;

/** Display that takes Results as they come. */
export interface View {
  add(result: Result): void;
  /** @param note one line below, such as what is going on */
  stop(note?: string): void;
}

/** Plain lines, for pipes and logs. */
export function plainView(totals: Totals, head: readonly string[]): View {
  for (const line of head) process.stdout.write(`${line}\n`);
  return {
    add(result) {
      totals.add(result);
      process.stdout.write(`${forTerminal(cells(result).join('  '))}\n`);
    },
    stop(note) {
      for (const line of [...totals.lines(), ...(note ? [note] : [])])
        process.stdout.write(`${forTerminal(line)}\n`);
    },
  };
}

/** The live table; it leaves its last state on the screen. */
export function liveView(totals: Totals, head: readonly string[]): View {
  const draw = createLogUpdate(process.stdout, { showCursor: true });
  /** Newest last; a second Result of an input takes the place of its first. */
  const rows = new Map<string, Result>();
  let dirty = true;
  const render = (): void => {
    if (!dirty) return;
    dirty = false;
    const room = Math.max(3, (process.stdout.rows ?? 30) - head.length - 8);
    const shown = [...rows.values()].slice(-room);
    draw(
      [
        ...head,
        '',
        liveTable(shown, process.stdout.columns ?? 100),
        '',
        ...totals.lines(),
        colors.dim('Ctrl-C stops everything.'),
      ].join('\n'),
    );
  };
  const timer = setInterval(render, 100);
  return {
    add(result) {
      totals.add(result);
      rows.set(result.id, result);
      for (const id of [...rows.keys()].slice(0, Math.max(0, rows.size - MAX_ROWS))) rows.delete(id);
      dirty = true;
    },
    stop(note) {
      clearInterval(timer);
      dirty = true;
      render();
      draw.done();
      if (note) process.stdout.write(`${note}\n`);
    },
  };
}

const MAX_ROWS = 200;
const HEAD = ['input', 'answer', 'agreement', 'by', 'why', 'ms'];
const ALIGNS = ['left', 'left', 'right', 'left', 'left', 'right'] as const;
/** Widths of every column but the first, which gets the rest. */
const WIDTHS = [24, 11, 7, 14, 9];

function liveTable(results: readonly Result[], columns: number): string {
  const first = Math.max(16, columns - WIDTHS.reduce((sum, width) => sum + width, 0) - 2 * WIDTHS.length - 2);
  return table(HEAD, results.map(cells), { colWidths: [first, ...WIDTHS], colAligns: ALIGNS });
}

function cells(result: Result): string[] {
  const name = `${result.pipeline}: ${result.input ?? 'HTTP'}`;
  if (isFailure(result)) return [name, colors.red(result.error.code), '', '', '', ''];
  const { source, reason, agreement, provisional, timingsMs } = result;
  return [
    name,
    `${answerText(result)}${provisional ? ' …' : ''}`,
    agreement === null ? '' : agreement.toFixed(3),
    source === 'cloud' ? colors.magenta('cloud') : colors.green('edge'),
    reason,
    timingsMs.total.toFixed(1),
  ];
}

function answerText({ output }: Answer): string {
  const { label, score } = topAnswer(output);
  return score === null ? label : `${label} ${score.toFixed(2)}`;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
