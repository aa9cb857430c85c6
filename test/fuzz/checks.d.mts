export function checkText(text: string): void;
export function checkHtml(page: string): void;
export function checkReport(report: unknown, disorder?: boolean): void;
