/** The rules of `promtool check metrics` for an exposition in Prometheus's text format, and of the format itself. */

interface Family {
  readonly help: string | undefined;
  readonly type: string | undefined;
  readonly labels: Set<string>;
}

/** As promlint of client_golang lists them: units that have another as their base, and short forms of units. */
const DERIVED =
  /_(milliseconds|microseconds|nanoseconds|minutes|hours|days|weeks|kilobytes|megabytes|gigabytes|terabytes|bits|kibibytes|mebibytes|gibibytes|percent|celsiuses|kelvin|fahrenheit|millimeters|kilometers|grams|kilograms|millivolts|milliamperes)(_|$)/;
const SHORT = /_(s|ms|us|ns|sec|b|kb|mb|gb|tb|pb|m|h|d)(_total)?$/;
const TYPE_WORDS = /(^|_)(counter|gauge|histogram|summary)(_|$)/;
const NAME = /^[a-z][a-z0-9_]*$/;

/** What is wrong, a line for each; empty where promtool would say nothing. */
export function metricProblems(text: string): string[] {
  const problems: string[] = [];
  const families = readFamilies(text, problems);
  for (const [name, { help, type, labels }] of families) {
    const say = (what: string): unknown => problems.push(`${name}: ${what}`);
    if (!help) say('no help text');
    if (type === undefined) say('no type');
    if (!NAME.test(name)) say('the name is not snake_case');
    if (DERIVED.test(name)) say('not in a base unit');
    if (SHORT.test(name)) say('a unit is abbreviated');
    if (TYPE_WORDS.test(name)) say('the name says the type');
    if (type === 'counter' && !name.endsWith('_total')) say('a counter ends in _total');
    if (type !== 'counter' && name.endsWith('_total')) say('only a counter ends in _total');
    if (type !== 'histogram' && type !== 'summary' && /_(count|sum|bucket)$/.test(name))
      say('only histograms and summaries have such parts');
    if (type !== 'histogram' && labels.has('le')) say('the label le is for histograms');
    if (type !== 'summary' && labels.has('quantile')) say('the label quantile is for summaries');
    for (const label of labels) if (!NAME.test(label)) say(`the label ${label} is not snake_case`);
  }
  return problems;
}

function readFamilies(text: string, problems: string[]): Map<string, Family> {
  const families = new Map<
    string,
    { help: string | undefined; type: string | undefined; labels: Set<string> }
  >();
  const series = new Set<string>();
  const familyOf = (name: string) => {
    const known = families.get(name) ?? { help: undefined, type: undefined, labels: new Set<string>() };
    families.set(name, known);
    return known;
  };
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const [, kind, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind === 'HELP' || kind === 'TYPE') {
      const family = familyOf(name);
      const key = kind === 'HELP' ? 'help' : 'type';
      if (family[key] !== undefined) problems.push(`${name}: a second ${kind}`);
      family[key] = rest;
      continue;
    }
    if (line.startsWith('#')) continue;
    const [, sample = '', labels = '', value = ''] = /^([^\s{]+)(\{.*\})? (\S+)$/.exec(line) ?? [];
    if (!/^(nan|[+-]inf|[-+0-9.e]+)$/i.test(value)) problems.push(`${line}: no value`);
    if (series.has(sample + labels)) problems.push(`${sample}${labels}: a second time`);
    series.add(sample + labels);
    const owner = families.has(sample) ? sample : sample.replace(/_(count|sum|bucket)$/, '');
    const family = familyOf(owner);
    for (const [, label = ''] of labels.matchAll(/[{,]([^=]+)=/g))
      if (!(label === 'le' && sample.endsWith('_bucket'))) family.labels.add(label);
  }
  return families;
}
