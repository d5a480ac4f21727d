/**
 * Decides by the pair's certificate: a threshold on the route score that was found on data held out of training
 * (ROUTER.md 1.4: fixed-sequence Clopper-Pearson). It holds for the cloud model that it names and no other;
 * without it, or with another cloud model, every request is escalated.
 */

import { MAX_PAYLOAD_BYTES } from '../../shared/contract/limits.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type { CloudCertificate } from '../../shared/release/model-spec.ts';
import type { LocalAnswer, Route, RouteQuestion, Router, RouterStatus } from '../ports.ts';

export interface RouteGoal {
  /** Promised agreement with the cloud, 0..1. */
  readonly agreement: number;
  /** Confidence of the promise, 0..1. */
  readonly confidence: number;
  readonly start: 'certificate' | 'learn';
  readonly whenOffline: 'answer' | 'queue' | 'both';
  /** False: this pipeline has no cloud model. */
  readonly mayEscalate: boolean;
  readonly maxRequestBytes?: () => number;
}

/** Share of kept requests that are audited: ROUTER.md 2.4, q_min. */
const AUDIT_SHARE = 0.02;
/** Answers of a version that has just been replaced may still be on their way. */
const KEPT_VERSIONS = 3;

export class CertificateRouter implements Router {
  readonly #goal: RouteGoal;
  readonly #random: () => number;
  readonly #audits = new Set<string>();
  /** By digest of the local version that it is about; of the last few. */
  readonly #certificates = new Map<string, CloudCertificate | undefined>();
  #edgeDigest: string | null = null;
  #cloudDigest: string | undefined;
  #audited = 0;
  #disagreed = 0;

  /** @param random uniform in [0, 1); the audits' lot, so it should not be guessable */
  constructor(goal: RouteGoal, random: () => number) {
    this.#goal = goal;
    this.#random = random;
  }

  choose(id: string, question: RouteQuestion): Route {
    const { routeScore, edgeDigest, forced, online, requestBytes } = question;
    if (forced === 'edge' && routeScore !== null) return local('forced-edge');
    if (!this.#goal.mayEscalate) return local('no-cloud-model');
    if (requestBytes > (this.#goal.maxRequestBytes?.() ?? MAX_PAYLOAD_BYTES))
      return local('too-large-for-uplink');
    if (question.isOverBudget) return local('over-budget');
    if (forced === 'cloud') return this.#ask('forced-cloud', online);
    if (routeScore === null) return this.#ask(question.noLocalAnswer ?? 'no-edge-model', online);
    const threshold = this.#threshold(edgeDigest);
    if (threshold === null) return this.#ask('learning', online);
    if (routeScore < threshold) return this.#ask('uncertain', online);
    const audit = online && this.#random() < AUDIT_SHARE;
    if (audit) this.#audits.add(id);
    return { to: 'edge', reason: 'confident', audit };
  }

  agreementAt({ routeScore, model }: Pick<LocalAnswer, 'routeScore' | 'model'>): number | null {
    const certificate = this.#certificateOf(model.digest);
    if (!certificate) return null;
    const { a, b } = certificate;
    return 1 / (1 + Math.exp(-(a * routeScore + b)));
  }

  settle(id: string, loss: number | null): void {
    if (!this.#audits.delete(id) || loss === null) return;
    this.#audited++;
    this.#disagreed += loss;
  }

  cloudModelSeen(model: ModelRef): void {
    this.#cloudDigest = model.digest;
  }

  edgeModelSeen(digest: string, certificate: CloudCertificate | undefined): void {
    this.#edgeDigest = digest;
    this.#certificates.delete(digest);
    this.#certificates.set(digest, certificate);
    const [oldest] = this.#certificates.keys();
    if (this.#certificates.size > KEPT_VERSIONS && oldest !== undefined) this.#certificates.delete(oldest);
  }

  status(): RouterStatus {
    const { agreement, confidence } = this.#goal;
    const certificate = this.#certificateOf(this.#edgeDigest);
    return {
      start: certificate ? 'certificate' : 'learn',
      agreement,
      confidence,
      threshold: this.#threshold(this.#edgeDigest),
      evidence: certificate?.n ?? 0,
      audited: this.#audited,
      disagreed: this.#disagreed,
    };
  }

  /** The certified threshold of the weakest promise that still covers ours; null when there is none. */
  #threshold(edgeDigest: string | null): number | null {
    const { agreement, confidence } = this.#goal;
    const certificate = this.#certificateOf(edgeDigest);
    if (!certificate || certificate.confidence < confidence) return null;
    const covering = certificate.thresholds
      .filter((step) => step.agreement >= agreement && step.threshold !== null)
      .sort((one, other) => one.agreement - other.agreement);
    return covering[0]?.threshold ?? null;
  }

  /** undefined where there is none, or none for the cloud model that answers now. */
  #certificateOf(edgeDigest: string | null): CloudCertificate | undefined {
    const certificate =
      this.#goal.start === 'certificate' ? this.#certificates.get(edgeDigest ?? '') : undefined;
    const holds = this.#cloudDigest === undefined || this.#cloudDigest === certificate?.cloudDigest;
    return holds ? certificate : undefined;
  }

  #ask(reason: Extract<Route, { to: 'cloud' }>['reason'], online: boolean): Route {
    if (online) return { to: 'cloud', reason, meanwhile: 'at-deadline' };
    switch (this.#goal.whenOffline) {
      case 'answer':
        return local('offline');
      case 'queue':
        return { to: 'cloud', reason, meanwhile: 'never' };
      case 'both':
        return { to: 'cloud', reason, meanwhile: 'now' };
    }
  }
}

const local = (reason: Extract<Route, { to: 'edge' }>['reason']): Route => ({
  to: 'edge',
  reason,
  audit: false,
});
