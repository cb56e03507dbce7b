import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IdentityError } from '../core/errors.ts';
import type { TemplateFacts } from './template-fields.ts';
import { renderTemplate } from './template-value.ts';
import { constantOf, fieldsOf, parseGoTemplate } from './template.ts';

const FACTS: TemplateFacts = {
  trustDomain: 'example.org',
  clusterName: 'blue',
  clusterDomain: 'cluster.local',
  pod: {
    name: 'web-1',
    namespace: 'shop',
    uid: 'uid-1',
    serviceAccount: 'web',
    nodeName: 'node-1',
    hostname: '',
    subdomain: '',
    labels: new Map([
      ['app', 'Cart'],
      ['app.kubernetes.io/name', 'cart'],
    ]),
    annotations: new Map([['example.org/team', 'blue team']]),
  },
  node: {
    name: 'node-1',
    uid: 'node-uid',
    labels: new Map([['topology.kubernetes.io/zone', 'eu-1a']]),
    annotations: new Map(),
  },
};

function render(text: string, facts = FACTS): string {
  const rendered = renderTemplate(parseGoTemplate(text), facts);
  return rendered.kind === 'text' ? rendered.text : `${rendered.kind}: ${rendered.reason}`;
}

describe('renderTemplate()', () => {
  const CASES: readonly (readonly [template: string, text: string])[] = [
    ['', ''],
    ['spiffe://example.org/web', 'spiffe://example.org/web'],
    [
      'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}',
      'spiffe://example.org/ns/shop/sa/web',
    ],
    ['{{.ClusterName}}/{{ .ClusterDomain}}', 'blue/cluster.local'],
    ['{{ .PodMeta.Name }} {{ .PodMeta.UID }} {{ .PodSpec.NodeName }}', 'web-1 uid-1 node-1'],
    ['{{ .PodMeta.Labels.app }}', 'Cart'],
    ['{{ index .PodMeta.Labels "app.kubernetes.io/name" }}', 'cart'],
    ['{{ index .PodMeta.Annotations `example.org/team` }}', 'blue team'],
    ['{{ index .NodeMeta.Labels "topology.kubernetes.io/zone" }}', 'eu-1a'],
    ['{{ .NodeMeta.Name }}/{{ .NodeMeta.UID }}', 'node-1/node-uid'],
    ['{{ .PodMeta.Labels.app | lower }}', 'cart'],
    ['{{ lower .PodMeta.Labels.app | upper }}', 'CART'],
    ['{{ .PodMeta.Name | trimPrefix "web-" }}', '1'],
    ['{{ .PodMeta.Name | trimSuffix "-1" }}', 'web'],
    ['{{ .PodMeta.Name | trimPrefix "no" | trimSuffix "no" }}', 'web-1'],
    ['{{ replace "-" "." .PodMeta.Name }}', 'web.1'],
    ['{{ index .PodMeta.Annotations "example.org/team" | replace " " "-" }}', 'blue-team'],
    ['{{ index .PodMeta.Labels "none" }}', ''],
    ['{{ index .PodMeta.Labels "none" | default "x" }}', 'x'],
    ['{{ .PodMeta.Labels.none | default "x" }}', 'x'],
    ['{{ default .PodMeta.Name (index .PodMeta.Labels "none") }}', 'web-1'],
    ['{{ .PodSpec.Hostname | default .PodMeta.Name }}', 'web-1'],
    ['{{ (index .PodMeta.Labels "app") }}', 'Cart'],
    ['{{ index .PodMeta.Labels (lower "APP") }}', 'Cart'],
    ['{{ "}}" }}{{ "a\\"b\\\\" }}', '}}a"b\\'],
    ['a {{- " b " -}} c', 'a b c'],
    ['a{{/* nothing */}}b {{- /* }} */ -}} c', 'abc'],
    ['{{ .PodMeta.Labels.none }}', 'none: .PodMeta.Labels has no none'],
    ['{{ .PodMeta.Labels.none | lower }}', 'none: .PodMeta.Labels has no none'],
    ['{{ replace "" "x" .PodMeta.Name }}', 'none: replace: what is to be replaced is empty'],
  ];
  for (const [template, text] of CASES) {
    it(`gives ${JSON.stringify(text)} for ${template}`, () => {
      assert.equal(render(template), text);
    });
  }

  it('says what is not known instead of leaving it out', () => {
    const facts = { ...FACTS, node: undefined, clusterName: '' };
    assert.match(render('{{ .NodeMeta.Name }}', facts), /^unknown: \.NodeMeta\.Name: the node is/);
    assert.match(
      render('{{ index .NodeMeta.Labels "a" }}', facts),
      /^unknown: \.NodeMeta\.Labels: /,
    );
    assert.match(
      render('{{ .ClusterName }}', facts),
      /policy\.kubernetes\.cluster_name is not set/,
    );
    assert.equal(render('{{ .ClusterName | default "c" }}', facts), 'c');
  });

  const UNKNOWN: readonly (readonly [template: string, gives: RegExp])[] = [
    ['{{ index .NodeMeta.Labels "zone" | default "none" }}', /^unknown: \.NodeMeta\.Labels: /],
    ['{{ .NodeMeta.Labels.zone | default "none" | lower }}', /^unknown: \.NodeMeta\.Labels: /],
    ['{{ .NodeMeta.Name | default .PodMeta.Name }}', /^unknown: \.NodeMeta\.Name: /],
    ['{{ index .PodMeta.Labels .NodeMeta.Name | default "x" }}', /^unknown: \.NodeMeta\.Name: /],
    ['{{ index .PodMeta.Annotations "a" | default "x" }}', /^unknown: \.PodMeta\.Annotations: /],
    ['{{ .PodMeta.Labels.none | default .NodeMeta.Name }}', /^unknown: \.NodeMeta\.Name: /],
    ['{{ .PodMeta.Labels.app | default .NodeMeta.Name }}', /^Cart$/],
    // Whatever the node is.
    ['{{ .NodeMeta.Name }}/{{ .PodMeta.Labels.none }}', /^none: \.PodMeta\.Labels has no none/],
    [
      '{{ replace .NodeMeta.Name .PodMeta.Labels.none "x" }}',
      /^none: \.PodMeta\.Labels has no none/,
    ],
  ];
  for (const [template, gives] of UNKNOWN) {
    it(`gives ${gives.source} for ${template} while that is not known`, () => {
      const pod = { ...FACTS.pod, annotations: undefined };
      assert.match(render(template, { ...FACTS, node: undefined, pod }), gives);
    });
  }

  it('ends before what it gives has become huge', () => {
    const bomb = `{{ "a" ${'| replace "a" "aaaaaaaaaa" '.repeat(40)}}}`;
    assert.match(render(bomb), /^none: it gives more than 8192 characters/);
    assert.match(render('{{ .PodMeta.Name }}'.repeat(200)), /^web-1web-1/);
  });
});

describe('parseGoTemplate()', () => {
  const REFUSALS: readonly (readonly [template: string, message: string])[] = [
    ['{{ .TrustDomain', '1:1: this {{ has no }}'],
    ['a\nb {{ .PodMeta.Nam }}', '2:6: .PodMeta.Nam is not supported, did you mean .PodMeta.Name?'],
    [
      '{{ .PodMeta.Labels }}',
      '1:4: .PodMeta.Labels is a map, take one of it: index .PodMeta.Labels "key"',
    ],
    ['{{ . }}', '1:4: expected a field such as .PodMeta.Name after the dot'],
    ['{{ }}', '1:1: expected a value such as .PodMeta.Name'],
    ['{{ if .TrustDomain }}', '1:4: if is not supported: values only, no control structures'],
    ['{{ $x := .TrustDomain }}', '1:4: variables are not supported'],
    [
      '{{ printf "%s" .TrustDomain }}',
      '1:4: the function printf is not supported, there are index, default, lower, upper, trimPrefix, trimSuffix, replace',
    ],
    ['{{ .PodMeta.Name | lowr }}', '1:20: the function lowr is not supported, did you mean lower?'],
    ['{{ .PodMeta.Name | .PodMeta.UID }}', '1:20: expected a function after |'],
    ['{{ .PodMeta.Name .PodMeta.UID }}', '1:18: expected | or }} after a value'],
    ['{{ .PodMeta.Name | }}', '1:1: expected a value such as .PodMeta.Name'],
    ['{{ index .PodMeta.Labels }}', '1:4: expected index .PodMeta.Labels "key": a map and one key'],
    [
      '{{ index .PodMeta.Name "a" }}',
      '1:4: expected index .PodMeta.Labels "key": a map and one key',
    ],
    ['{{ index .PodMeta.Labels 0 }}', '1:26: numbers are not supported'],
    ['{{ default "x" }}', '1:4: default takes 2 values, got 1'],
    ['{{ lower "a" "b" }}', '1:4: lower takes one value, got 2'],
    ['{{ ("a" }}', '1:4: this ( has no )'],
    ['{{ "a") }}', '1:7: unexpected )'],
    [
      '{{ (index .PodMeta.Labels "a").b }}',
      '1:31: fields of what stands in parentheses are not supported',
    ],
    ['{{ "a }}', '1:4: this text has no end'],
    ['{{ "\\x41" }}', '1:5: the escape \\x is not supported'],
    ['{{ .PodMeta.Name | default lower }}', '1:28: put lower in parentheses'],
    ['x'.repeat(4097), '1:1: it has 4097 characters, at most 4096 are allowed'],
    [`{{ ${'('.repeat(40)}"a"${')'.repeat(40)} }}`, '1:36: it is nested too deeply'],
  ];
  for (const [template, message] of REFUSALS) {
    it(`refuses ${template.slice(0, 40)}`, () => {
      assert.throws(
        () => parseGoTemplate(template),
        (thrown) => {
          assert.ok(thrown instanceof IdentityError);
          assert.equal(thrown.message, message);
          return true;
        },
      );
    });
  }

  it('says which templates are the same for everybody, and what the others are made of', () => {
    assert.equal(constantOf(parseGoTemplate('a{{/* b */}}c')), 'ac');
    const template = parseGoTemplate(
      '{{ index .NodeMeta.Labels .PodMeta.Name | default .ClusterName }}',
    );
    assert.equal(constantOf(template), undefined);
    assert.deepEqual([...fieldsOf(template)].sort(), [
      'ClusterName',
      'NodeMeta.Labels',
      'PodMeta.Name',
    ]);
  });

  it('lets nothing but its own error out, and crosses to another thread, whatever it is given', () => {
    const word = fc.constantFrom(
      ...['{{', '}}', '{{-', '-}}', ' ', '|', '(', ')', '"', '`', '\\', '.', '/*', '*/', '\n'],
      ...['.PodMeta.Name', '.PodMeta.Labels', 'index', 'lower', 'replace', 'default', '"a"', 'é'],
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(word, { maxLength: 40 }).map((w) => w.join('')),
    );
    fc.assert(
      fc.property(text, (template) => {
        try {
          const parsed = structuredClone(parseGoTemplate(template));
          renderTemplate(parsed, FACTS);
          renderTemplate(parsed, { ...FACTS, node: undefined });
        } catch (thrown) {
          assert.ok(thrown instanceof IdentityError, String(thrown));
          assert.match(thrown.message, /^\d+:\d+: /);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('gives a text without actions back as it is', () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 200 }).filter((s) => !s.includes('{{')),
        (text) => {
          assert.equal(render(text), text);
        },
      ),
    );
  });
});
