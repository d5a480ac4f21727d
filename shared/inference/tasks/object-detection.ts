export const loadObjectDetection = (): never => { throw 0 };
