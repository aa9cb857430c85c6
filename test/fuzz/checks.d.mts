export function checkText(text: string): void;
export function checkHtml(page: string): void;
