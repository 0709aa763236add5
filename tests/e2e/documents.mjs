/*
 * documents: the blocks of code in Markdown, so that tests can do what a document prints, as it is printed.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));

/* Every fenced block of a document of the repository: {language, words, text, line}. */
export function blocksOf(document) {
    const blocks = [];
    let block = null;
    const markdown = readFileSync(join(REPOSITORY, document), 'utf8');
    markdown.split('\n').forEach((line, index) => {
        const fence = /^```(\S*) ?(.*)$/.exec(line);
        if (block && fence) {
            blocks.push(block);
            block = null;
        } else if (fence) {
            block = { language: fence[1], words: fence[2], text: '', line: index + 1 };
        } else if (block) {
            block.text += `${line}\n`;
        }
    });
    return blocks;
}

/* The first one in that language. */
export function blockOf(document, language) {
    const found = blocksOf(document).find((block) => block.language === language);
    if (!found) throw new Error(`${document} has no block in ${language}`);
    return found.text;
}
