/** Which topics a filter is for. Pure. */

/** MQTT 3.1.1 4.7, of filters that do not begin with a wildcard. */
export function matchesFilter(filter: string, topic: string): boolean {
  const levels = topic.split('/');
  const wanted = filter.split('/');
  const rest = wanted.indexOf('#');
  if (rest === -1 ? wanted.length !== levels.length : levels.length < rest) return false;
  return wanted.every((level, i) => level === '#' || level === '+' || level === levels[i]);
}
