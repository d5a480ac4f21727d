/** A label in its sentence. Pure. */

/** As Python's `str.format`: doubled braces are braces. @param template with `{}` in the label's place */
export const inTemplate = (label: string, template: string): string =>
  template.replace(/\{\{|\}\}|\{\}/g, (mark) => (mark === '{}' ? label : mark.slice(1)));
