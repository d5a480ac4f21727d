export const loadTensor = (): never => { throw 0 };
