// pages/__init__.py makes scales.js of explain/drawing/colour.py when it is asked for.
export const weight: string[];
export const contribution: string[];
